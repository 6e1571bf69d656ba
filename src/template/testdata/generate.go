// Writes go.json: what Go's text/template makes of the templates below. `go run generate.go > go.json`
package main

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"text/template"
	"time"
)

type sample struct {
	Name string
	N    float64
}

type data struct {
	Labels map[string]string
	Value  float64
	Any    map[string]any
	List   []any
	Sample sample
	Nil    any
	Inf    float64
	NaN    float64
	Dur    time.Duration
	Time   time.Time
}

// The same data stands in tests.rs.
var d = data{
	Labels: map[string]string{"instance": "host:9100", "job": "node", "b": "<&>'\""},
	Value:  0.12345678,
	Any:    map[string]any{"one": 1, "f": 1e6, "list": []any{1, "x", nil}, "nil": nil, "sub": map[string]any{"k": "v"}},
	List:   []any{1, "two", 3.5, true, nil},
	Sample: sample{"n", 2},
	Inf:    math.Inf(1),
	NaN:    math.NaN(),
	Dur:    90*time.Minute + 1500*time.Millisecond,
	Time:   time.Date(2015, 9, 4, 5, 6, 7, 80_000_000, time.UTC),
}

type result struct {
	Template string `json:"template"`
	// "parse", "execute" or nothing
	Error  string `json:"error,omitempty"`
	Output string `json:"output"`
}

func main() {
	var out []result
	for _, t := range cases() {
		r := result{Template: t}
		tmpl, err := template.New("t").Option("missingkey=zero").Parse(t)
		if err != nil {
			r.Error = "parse"
		} else {
			var b strings.Builder
			if err := tmpl.Execute(&b, d); err != nil {
				r.Error = "execute"
			} else {
				r.Output = b.String()
			}
		}
		out = append(out, r)
	}
	e := json.NewEncoder(os.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	e.Encode(out)
}

func cases() []string {
	list := strings.Split(strings.TrimSpace(plain), "\n")
	list = append(list, "a\n  {{- 1 -}}\n b", "{{- /* c */ -}} x", "a {{/* c */}} b", "{{/* c */ }}", "{{/* c", "{{1 -}} \n\t {{- 2}}",
		"{{ if\n.Value\n}}x{{end}}", "{{\"a\nb\"}}", "{{`a\nb`}}", "{{- 3}}", "{{-3}}", "{{ 3 -}}  x", "{{3-}}", "x{{", "}}", "{{}}", "{{ }}", "")
	floats := []string{"0.0", "1.0", "-1.5", "1e6", "123456789.0", "1e20", "1e21", "1e22", "0.0001", "0.00001", "2.5", "0.5", "1.25", "99999.5",
		"100000.0", "999999.5", "1234567.0", "3.141592653589793", "1e-300", "5e-324", "1.7976931348623157e308", "0.1", "1e100", "12345.678", "-0.000123456",
		".Inf", "(index (.Labels) \"x\")", ".NaN"}
	verbs := []string{"%v", "%f", "%.2f", "%.0f", "%5.1f", "%e", "%.3e", "%E", "%g", "%.4g", "%.10g", "%G", "%8.3f", "%-8.3f|", "%+.1f", "% .1f", "%08.2f", "%x", "%.3x", "%s", "%d", "%q", "%6v", "%-6v|", "%06d", "%+v", "%010v", "%t"}
	for _, f := range floats {
		for _, v := range verbs {
			list = append(list, `{{printf "`+v+`" `+f+`}}`)
		}
		list = append(list, `{{`+f+`}} {{print `+f+` 1}}`)
	}
	others := []string{"1", "-42", "0", "255", "9223372036854775807", `"hi"`, `"a\"b\\\n\t\u00e9"`, `""`, "true", ".Nil", ".List", ".Labels", ".Any", ".Sample", ".Dur", ".Time", "'x'"}
	verbs = []string{"%v", "%+d", "%+v", "%5v", "%d", "%5d", "%-5d|", "%05d", "%.3d", "%8.3d", "%x", "%X", "%#x", "%o", "%#o", "%O", "%b", "%c", "%U", "%q", "%s", "%10s", "%-10s|", "%.1s", "%5.1s", "% x", "%t", "%6t", "%%", "%z", "%!", "%", "%010s", "%+q", "%#q", "%5%"}
	for _, o := range others {
		for _, v := range verbs {
			// Go looks into the struct that a time is, prints floats in bits, and floats with a point always: nobody's template does.
			if o == ".Time" && !strings.ContainsAny(v, "vsq") || strings.ContainsAny(v, "b#") && strings.Contains(".List .Any .Sample", o) {
				continue
			}
			list = append(list, `{{printf "`+v+`" `+o+`}}`)
		}
	}
	return list
}

const plain = `{{nil}}
{{.}}
{{.Labels}}
{{.Labels.instance}} on {{.Labels.job}}
{{.Labels.missing}}|{{.Any.missing}}|{{.Any.sub.k}}|{{.Any.sub.z}}
{{.Missing}}
{{.Value}}
{{.Value.x}}
{{.Any.nil.x}}
{{.Nil}}
{{.Sample}} {{.Sample.Name}} {{.Sample.N}}
{{.Sample.Nope}}
{{1 | 2}}
{{1 | print}}
{{"a" | print "b" | printf "%s-%s" "c"}}
{{1 2}}
{{.Value 1}}
{{.Labels.job 1}}
{{$x}}
{{$}}
{{$.Value}}
{{foo}}
{{if}}x{{end}}
{{if .Value}}a{{else}}b{{end}}
{{if .Nil}}a{{else}}b{{end}}
{{if 0}}a{{else if ""}}b{{else if .List}}c{{else}}d{{end}}
{{if 0.0}}a{{else}}b{{end}}
{{if .Sample}}a{{else}}b{{end}}
{{if true}}a
{{if true}}a{{else}}b{{else}}c{{end}}
{{end}}
{{else}}
{{break}}
{{continue}}
{{range .List}}{{.}},{{end}}
{{range .List}}{{if eq . "two"}}{{break}}{{end}}{{.}},{{end}}
{{range $i, $e := .List}}{{$i}}={{$e}};{{end}}
{{range $e := .List}}{{$e}};{{end}}
{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}
{{range .Labels}}{{.}};{{end}}
{{range .Nil}}x{{else}}none{{end}}
{{range 3}}{{.}}{{end}}
{{range $i := 2}}{{$i}}{{end}}
{{range $i, $j := 2}}{{$i}}{{end}}
{{range .Value}}x{{end}}
{{range $i, $e := .List}}{{if $i}}{{continue}}{{end}}{{$e}}{{end}}
{{range .List}}{{range $.List}}{{break}}{{end}}.{{end}}
{{with .Value}}{{.}}{{end}}
{{with .Nil}}x{{else}}{{$.Value}}{{end}}
{{with $x := .Labels.job}}{{$x}}{{.}}{{end}}
{{with .Nil}}a{{else with .Value}}{{.}}{{else}}b{{end}}
{{with .Nil}}a{{else if .Value}}{{.}}{{end}}
{{$x := 1}}{{$x}}
{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}
{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}
{{if true}}{{$x := 2}}{{end}}{{$x}}
{{$x = 2}}
{{$x := .Labels}}{{$x.job}}{{$x.nope}}
{{$x, $y := 1}}
{{$x := }}
{{range $x, $y, $z := .List}}{{end}}
{{define "a"}}[{{.}}]{{end}}{{template "a" .Value}}{{template "a"}}
{{define "a"}}{{template "b" .}}{{end}}{{define "b"}}<{{.}}>{{end}}{{template "a" 1}}
{{template "nope"}}
{{template nope}}
{{block "a" .Value}}({{.}}){{end}}
{{if true}}{{define "a"}}{{end}}{{end}}
{{define "a"}}{{$x}}{{end}}
{{define "a"}}x
{{define "r"}}{{template "r"}}{{end}}ok
{{(1)}} {{(print 1 2)}} {{(index .List 0)}}
{{(.Labels).job}} {{(.Any.sub).k}}
{{((((1))))}}
{{(1}}
{{1)}}
{{()}}
{{print (len .List) (len .Labels) (len "abc")}}
{{len 3}}
{{len .Nil}}
{{len}}
{{len 1 2}}
{{index .List 0}} {{index .List 1}} {{index .Labels "job"}} {{index .Labels "nope"}}|{{index .Any "nope"}}
{{index .List 9}}
{{index .List -1}}
{{index .List "x"}}
{{index .Labels 1}}
{{index .Any "list" 1}}
{{index .Any "list" 1 0}}
{{index 3 1}}
{{index .Nil 1}}
{{index "abc" 1}}
{{index .List}}
{{slice "hello" 1 3}} {{slice "hello" 2}} {{slice "hello"}} {{slice .List 1 2}}
{{slice "hello" 3 1}}
{{slice "hello" 9}}
{{slice 3}}
{{slice "hello" 1 2 3}}
{{and}}
{{and 1 0 (index .List 99)}} {{and 1 2}} {{and ""}}
{{or 0 "" "x" (index .List 99)}} {{or 0 ""}}|
{{or (index .List 99) 1}}
{{0 | and 1}} {{5 | or 0}} {{5 | and 1 2}}
{{not 1}} {{not 0}} {{not .Nil}} {{not ""}}
{{not}}
{{not 1 2}}
{{eq 1 1}} {{eq 1 2 3 1}} {{eq "a" "a"}} {{eq 1.5 1.5}} {{eq true true}} {{ne 1 2}}
{{eq 1 1.0}}
{{eq 1 "1"}}
{{eq .Value 0.12345678}}
{{eq .Value 1}}
{{eq .Nil nil}}
{{eq nil nil}}
{{eq .Any.nil .Nil}} {{eq .Any.nil 1}}
{{eq .Labels .Labels}}
{{eq .List .List}}
{{eq 1}}
{{eq}}
{{eq .Labels.nope ""}}
{{ne "a" "b" "c"}}
{{lt 1 2}} {{le 2 2}} {{gt 1.5 1.0}} {{ge "b" "a"}} {{lt "a" "b"}} {{gt 1 2}}
{{lt 1 2.0}}
{{lt .Value 1.0}} {{gt .Value 80.0}}
{{gt .Value 80}}
{{lt true false}}
{{lt .Nil 1}}
{{lt .List .List}}
{{gt .Inf 1.0}} {{lt .NaN 1.0}} {{ge .NaN 1.0}} {{le .NaN 1.0}} {{gt .NaN 1.0}}
{{print}}|{{print 1}}|{{print 1 2}}|{{print "a" "b"}}|{{print "a" 1 2 "b"}}|{{print 1 "a" 2}}|{{print nil}}|{{print .Nil 1}}|{{print true false}}
{{println "a" 1 2.5 nil}}|{{println}}
{{printf}}
{{printf 1}}
{{printf "x"}}
{{printf "%d"}}
{{printf "%d" 1 2 "x" nil}}
{{printf "%d %s" 1}}
{{printf "%[2]d %[1]d" 1 2}} {{printf "%[3]d" 1}} {{printf "%[x]d" 1}} {{printf "%[1" 1}}
{{printf "%*d|%-*d|%.*f" 5 42 5 42 2 3.14159}}
{{printf "%*d" "x" 1}}
{{printf "%.*f" -1 2.5}}
{{printf "%[1]*d" 3 4}} {{printf "%[2]*[1]d" 3 4}}
{{printf "%T %T %T %T" 1 1.5 "x" true}}
{{printf "%6.2f%%" 12.3456}}
{{printf "%v %v" .List .Any}}
{{printf "%s" .List}} {{printf "%d" .List}} {{printf "%q" .List}}
{{printf "%s %v %d" .Dur .Dur .Dur}} {{.Dur}} {{.Dur.Seconds}} {{.Dur.Minutes}} {{.Dur.Hours}}
{{.Time}} {{.Time.Unix}} {{.Time.Year}} {{.Time.Month}} {{.Time.Day}} {{.Time.Hour}} {{.Time.Weekday}} {{.Time.YearDay}}
{{.Time.Format "2006-01-02T15:04:05Z07:00"}} {{.Time.Format "Mon Jan _2 3:04PM .000 .999 MST -0700"}} {{.Time.Format "Monday January 2 06 1 002 __2 03:4:5 pm 05.00 05,999"}}
{{.Time.Format}}
{{.Time.Nope}}
{{html "<a href='x'>&\"</a>"}} {{html 1 2}} {{html .Labels.b}}
{{js "it's <\"=&>\n\\ é"}}
{{urlquery "a b&c=d/é~-_."}} {{urlquery 1 "x"}}
{{'a'}} {{'\n'}} {{'\''}} {{'\x41'}} {{'\u00e9'}} {{'é'}}
{{''}}
{{'ab'}}
{{'a}}
{{0x1F}} {{1_000}} {{1e3}} {{-5}} {{+5}} {{.5}} {{0b101}} {{0o17}} {{017}} {{1.}} {{1E-2}} {{0X_1f}}
{{1x}}
{{08}}
{{1__0}}
{{9223372036854775808}}
{{1e999}}
{{-9223372036854775808}}
{{"a\tb\\\"\x41\101\u00e9\U0001F600"}}
{{"\q"}}
{{"\x4"}}
{{"abc}}
{{"abc".x}}
{{true}} {{false}}
{{true.x}}
{{nil.x}}
{{.x.}}
{{..}}
{{.Labels.job.}}
{{.1}}
{{$.Labels.job}}{{$x := $}}{{$x.Labels.job}}
{{ & }}
{{ # }}
{{ : }}
{{ , }}
{{.Value | printf "%.2f" | len}}
{{.Value |}}
{{| .Value}}
{{.Value || .Value}}
{{print .Labels.job.x}}
{{printf "%s" (printf "%d" 1).x}}
{{print(1)}}
{{print (1)(2)}}
{{print "a""b"}}
{{print .Labels.job"b"}}
{{/* a */}}x{{/**/}}
{{if eq .Labels.job "node" "x"}}yes{{end}}
{{if and (eq .Labels.job "node") (gt .Value 0.1)}}yes{{end}}
{{if not (eq .Labels.job "node")}}no{{else}}yes{{end}}
{{define "x"}}{{if .}}1{{else}}0{{end}}{{end}}{{template "x" .Nil}}{{template "x" .Value}}
{{range $i, $_ := .List}}{{$i}}{{end}}
{{$a := 1}}{{range .List}}{{$a = print $a .}}{{end}}{{$a}}
{{len (printf "%5d" 1)}}
{{print 1e6 100000.0 1e5 21.0 1e21}}
{{define "t"}}{{end}}{{template "t"}}x
{{with 1}}{{.}}{{end}}{{with 0}}x{{else}}y{{end}}
{{break 1}}
{{range .List}}{{break}}x{{end}}y
{{end x}}
{{else if}}
{{if true}}a{{else if}}b{{end}}
{{template "a" 1 2}}
{{block "x"}}y{{end}}
{{define x}}{{end}}
{{define "x" 1}}{{end}}
{{print nil | print}}
{{nil | print}}
{{1 | nil}}
{{1 | true}}
{{"x" | .Labels}}
{{1 | $.Value}}
`
