// Writes re2.json: what Go's regexp makes of the patterns below. `go run generate.go > re2.json`
package main

import (
	"encoding/json"
	"os"
	"regexp"
)

type result struct {
	Pattern string   `json:"pattern"`
	Text    string   `json:"text"`
	Error   bool     `json:"error"`
	Found   []string `json:"found"`
	Names   []string `json:"names"`
}

var texts = []string{
	"",
	"/usr/bin/java -Xmx1g -jar /opt/app-1.2.jar --port=8080 --name=Änderung",
	"nginx: worker process",
	"a{b}c [x] a&&b a--b a~~b {1,2} <tag> (p) $5 #x a\\b 7_k",
	"tab\there\vvt\nline two\r\n\x0cff \u212a\u017f é",
}

var patterns = []string{
	``, `.*`, `.+`, `^$`, `^/`, `java`, `\.jar`, `-jar (\S+)`, `(?P<jar>[^/]+)\.jar`, `(?<jar>[^/]+)\.jar`,
	`--port=(?P<port>\d+)`, `--port=(?P<port>\d+) --name=(?P<name>\w+)`, `(?P<1>j)(?P<a_1>a)`, `(?P<a>x)(?P<a>y)`, `(?P<>x)`,
	`(?P<a-b>x)`, `(?P<a`, `(?Pa)`, `(?P=a)`, `nginx: (master|worker)`, `(a|ab)(c|bcd)?`, `(a*)*`, `(a*)+`, `(a|b)*`, `(|a)+`, `(|a)*`,
	`\bjava\b`, `\Bava`, `\Bx\B`, `\b`, `\B`, `\bÄ`, `\BÄ`, `\w+$`, `name=\w`, `name=\W`, `\d+`, `\D+`, `\s`, `\S+`, `[\d]+`, `[^\d]+`, `[\D]+`,
	`[\w.]+`, `[\w-.]+`, `[\w-]+`, `[a-\d]`, `[--a]`, `[a-]`, `[-a]+`, `[a-c-e]+`, `[z-a]`, `[]]`, `[]a]+`, `[^]a]+`, `[`, `[]`, `[^]`, `[a`, `[[]`, `[[a]`,
	`[a&&b]+`, `[a--b]`, `[a~~b]+`, `[&&]+`, `[[:alpha:]]+`, `[[:^alpha:]]+`, `[[:word:]]+`, `[[:foo:]]`, `[:alpha:]+`, `[[:alpha]+`, `[[:alpha:]_-]+`,
	`[\pL]+`, `\pL+`, `\p{L}+`, `\p{Latin}+`, `\p{^Latin}+`, `\P{Latin}+`, `\P{^Latin}+`, `[\p{Greek}]`, `\p{Nope}`, `\p`, `\p{`, `[\P{Lu}]+`,
	`a{`, `a{b}`, `a{b}c`, `a{1`, `a{,2}`, `{1,2}`, `x{2}`, `p{2}`, `[0-9]{2,3}`, `[0-9]{2,}`, `[0-9]{2,}?`, `[0-9]{02}`, `[0-9]{3,2}`, `a{1001}`, `a{1000}`, `a{0}`, `a{ 1 }`, `a{1,2`, `a{1}{2}`,
	`a**`, `a*?`, `a*?*`, `a+*`, `a??`, `a???`, `*`, `+a`, `?`, `|*`, `(*)`, `^*`, `$*`, `\b*`, `a|*`, `(?:)*`, `|`, `a||b`, `()`, `(`, `)`, `(()`, `())`,
	`(?i)JAVA`, `(?i:J)AVA`, `(?i)k`, `(?i)\w+`, `(?i)[k]`, `(?i)S`, `(?i-s)X`, `(?-i)x`, `(?i-)x`, `(?)x`, `(?x) a b`, `(?u)a`, `(?R)a`, `(?iz)a`, `(?i`, `(?i:`, `(?:a)`, `(?:a`,
	`(?s)here.vt`, `here.vt`, `here\vvt`, `here\tv`, `(?s)vt.line`, `vt.line`, `(?m)^line`, `^line`, `(?m)two\r$`, `two$`, `(?U)a+`, `(?U)a+?`, `(?ms).+$`, `(?m)$`, `\z`, `\Z`, `\A/`, `\Anginx`, `\G`,
	`\Qa{b}c\E`, `\Q[x]`, `\Q[x]\E+`, `\Q\E`, `\Q`, `\E`, `[\Qa\E]`, `\Qa\b`, `\Q(p)\E \$5`,
	`\052`, `\12`, `\1`, `\8`, `\9`, `(a)\1`, `\0`, `\07`, `\377`, `\777`, `\x41`, `\x4`, `\x{41}`, `\x{}`, `\x{110000}`, `\x{e9}`, `\xe9`, `[\x00-\x{10FFFF}]`, `[^\x00-\x{10FFFF}]`, `\x{212a}`, `\x`, `\x{41`,
	`\a`, `\f`, `\n`, `\r`, `\t`, `\v`, `\e`, `\c`, `\C`, `\h`, `\i`, `\_`, `\-`, `\/`, `\<tag\>`, `\<`, `\>`, `\#`, `\&`, `\~`, `\@`, `\"`, "\\`", `\%`, `\é`, `\ `, `\`,
	`[\a]`, `[\b]`, `[\n]`, `[\.]`, `[\]]`, `[\[]`, `[\-a]+`, `[\\]`, `[\<]`, `[a\]b]+`, `[\x41-\x5a]+`, `[\101-\132]+`, `[\z]`, `[\`,
	`#x`, `&`, `~`, `-`, `}`, `]`, `{`, `<tag>`, `a\\b`, `\$5`, `$5`, `a^b`, `(^|\s)(\S+)$`, `(?P<first>\S+) (?P<second>\S+)`, `(?=a)`, `(?!a)`, `(?<=a)`, `(?<!a)`, `(?#c)`, `(?>a)`,
	`é`, `[é]`, `[^é]+$`, `Ä.`, `.nderung`, `name=.nd`, `\PN+`, `\pN+`, `[[:space:]]+`, `[\s]+`, `[^\s]+`, `\s+`, `[[:cntrl:]]`, `[[:punct:]]+`, `x*`, `(x*)`, `(?:(a)|b)+`, `((a)|(b))+`, `(?P<x>q)?a`,
	`.*/(?P<base>[^/ ]+)`, `^(?P<e>\S+)`, `\S*$`, `(?i)(?P<n>NAME)=`, `worker|master`, `^nginx: (?P<role>\w+) process$`, `(?P<a>a)|(?P<b>n)`,
}

func main() {
	out := []result{}
	for _, p := range patterns {
		re, err := regexp.Compile(p)
		if err != nil {
			out = append(out, result{Pattern: p, Error: true})
			continue
		}
		for _, t := range texts {
			out = append(out, result{p, t, false, re.FindStringSubmatch(t), re.SubexpNames()})
		}
	}
	e := json.NewEncoder(os.Stdout)
	e.SetEscapeHTML(false)
	e.Encode(out)
}
