// Writes alertmanager.json: what Alertmanager's template package makes of the templates below, as text and as HTML.
//
// In a module of its own, beside a copy of this file: go get github.com/prometheus/alertmanager@v0.29.0
// and go run . > alertmanager.json
package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	tmplhtml "html/template"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	tmpltext "text/template"
	"time"

	"github.com/prometheus/alertmanager/template"
	"github.com/prometheus/alertmanager/types"
	"github.com/prometheus/common/model"
)

type file struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

type result struct {
	Template string `json:"template"`
	HTML     bool   `json:"html,omitempty"`
	Error    bool   `json:"error,omitempty"`
	Output   string `json:"output"`
}

// In the order in which they are read.
var files = []file{
	{"a.tmpl", `{{ define "list" }}{{ range . }}{{ .Labels.instance }};{{ end }}{{ end }}{{ define "link" }}<a href="{{ .url }}">{{ .text }}</a>{{ end }}outside {{ .Status }}`},
	{"b.tmpl", `{{ define "twice" }}first{{ end }}{{ define "kept" }}kept{{ end }}{{ define "calls" }}[{{ template "twice" . }}]{{ end }}`},
	{"c.tmpl", `{{ define "twice" }}second{{ end }}{{ define "kept" }}  {{ end }}{{ define "title" }}{{ .Status | toUpper }}{{ end }}{{ define "cell" }}<td title="{{ . }}">{{ . }}</td>{{ end }}{{ define "attr" }}{{ . }}{{ end }}`},
}

// The functions that later versions have.
var later = map[string]any{
	"safeUrl":     func(text string) tmplhtml.URL { return tmplhtml.URL(text) },
	"urlUnescape": url.QueryUnescape,
	"toJson": func(v any) (string, error) {
		b, err := json.Marshal(v)
		return string(b), err
	},
	"base64encode": func(text string) string { return base64.URLEncoding.EncodeToString([]byte(text)) },
	"base64decode": func(text string) (string, error) {
		b, err := base64.URLEncoding.DecodeString(text)
		return string(b), err
	},
	"list":   func(args ...any) []any { return append([]any{}, args...) },
	"append": func(list []any, args ...any) []any { return append(list, args...) },
	"dict": func(values ...any) (map[string]any, error) {
		if len(values)%2 != 0 {
			return nil, errors.New("odd")
		}
		all := map[string]any{}
		for i := 0; i < len(values); i += 2 {
			key, ok := values[i].(string)
			if !ok {
				return nil, errors.New("no string")
			}
			all[key] = values[i+1]
		}
		return all, nil
	},
}

// The same alerts stand in tests.rs.
func alerts() []*types.Alert {
	start := time.Date(2023, 11, 14, 22, 13, 20, 500_000_000, time.UTC)
	alert := func(instance, mount string, ends time.Time) *types.Alert {
		return &types.Alert{Alert: model.Alert{
			Labels: model.LabelSet{"alertname": "DiskFull", "instance": model.LabelValue(instance), "severity": "page", "Name": "odd", "mountpoint": model.LabelValue(mount)},
			Annotations: model.LabelSet{
				"summary":     `disk <full> & "loud", it's +5%`,
				"description": model.LabelValue("at " + instance),
				"runbook_url": "https://runbooks.example.org/disk full?x=1&y=é#top",
				"evil":        "javascript:alert(1)",
				"relative":    "//host/a b?q='x'",
				"bold":        `<b>bold</b> &amp; <i title="a>b">x</i> 1 < 2 <!-- c --> end`,
				"color":       "#c62828",
				"css":         "expression(alert(1))",
				"lines":       "a\nb\tc \u2028 </script>",
				"encoded":     "a%20b+c%zz",
				"set":         "a.png 1x, javascript:b 2x, /c d.png 3x",
			},
			StartsAt: start, EndsAt: ends, GeneratorURL: "http://host:9100/graph?g0.expr=up&g0.tab=1",
		}}
	}
	return []*types.Alert{
		alert("web-1.example.com:9100", "/var", time.Time{}),
		alert("web-2.example.com:9100", "/a <b>", time.Time{}),
		alert("db-1:9100", "/var", start.Add(93784*time.Second+250*time.Millisecond)),
	}
}

func main() {
	dir, err := os.MkdirTemp("", "templates")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f.Name), []byte(f.Text), 0o600); err != nil {
			panic(err)
		}
	}
	t, err := template.FromGlobs([]string{filepath.Join(dir, "*.tmpl")}, func(text *tmpltext.Template, html *tmplhtml.Template) {
		text.Funcs(tmpltext.FuncMap(later))
		html.Funcs(tmplhtml.FuncMap(later))
	})
	if err != nil {
		panic(err)
	}
	t.ExternalURL, _ = url.Parse("http://host:9100")
	data := t.Data("ops.team", model.LabelSet{"alertname": "DiskFull"}, alerts()...)
	out := struct {
		Files []file   `json:"files"`
		Cases []result `json:"cases"`
	}{Files: files}
	add := func(text string, html bool) {
		execute := t.ExecuteTextString
		if html {
			execute = t.ExecuteHTMLString
		}
		r := result{Template: text, HTML: html}
		output, err := func() (output string, err error) {
			defer func() {
				if recover() != nil {
					err = errors.New("panic")
				}
			}()
			return execute(text, data)
		}()
		if err != nil {
			r.Error = true
		} else {
			r.Output = output
		}
		out.Cases = append(out.Cases, r)
	}
	for _, text := range strings.Split(strings.TrimSpace(texts), "\n") {
		add(text, false)
		add(text, true)
	}
	for _, text := range strings.Split(strings.TrimSpace(htmls), "\n") {
		add(strings.ReplaceAll(text, "⏎", "\n"), true)
	}
	for _, where := range []string{"%s", "<p>%s</p>", `<a href="%s">x</a>`, `<a href='%s'>x</a>`, `<a href=%s>x</a>`, `<a href="/p/%s">x</a>`, `<a href="/p?q=%s">x</a>`, `<a href="#%s">x</a>`, `<a href="{{ .ExternalURL }}/%s?a=%s">x</a>`, `<i title="%s">x</i>`, `<i title='%s'>x</i>`, `<i title=%s>x</i>`, `<i %s="x">x</i>`, `<i style="color: %s">x</i>`, `<i style="background: url('%s')">x</i>`, `<i style="background: url(%s)">x</i>`, `<i style='font: "%s"'>x</i>`, `<title>%s</title>`, `<textarea>%s</textarea>`, `<style>b { color: %s }</style>`, `<script>var x = %s;</script>`, `<script>var x = "%s";</script>`, `<b onclick="f(%s)">x</b>`, `<b onclick="f('%s')">x</b>`, `<img src="%s">`, `<img srcset="%s">`, `<!-- %s -->x`, `<a data-url="%s">x</a>`, `<a xlink:href="%s">x</a>`, `<i class="a %s b">x</i>`, `<td bgcolor="%s">x</td>`} {
		for _, value := range []string{"$a.summary", "$a.runbook_url", "$a.evil", "$a.relative", "$a.color", "$a.css", "$a.lines", "$a.set", "$a.missing", "len $a", "$a.bold | safeHtml", "$a.evil | safeUrl", "$a.runbook_url | safeUrl", "$a.summary | html", "$a.summary | urlquery", "true", "2.5", "nil | print", "(index .Alerts 0).StartsAt", ".GroupLabels"} {
			add(`{{ $a := .CommonAnnotations }}`+strings.ReplaceAll(where, "%s", "{{ "+value+" }}"), true)
		}
	}
	e := json.NewEncoder(os.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(out); err != nil {
		panic(err)
	}
}

const texts = `
{{ .Receiver }} {{ .Status }} {{ .ExternalURL }}
{{ .GroupLabels }} | {{ .CommonLabels }} | {{ .GroupLabels.SortedPairs }}
{{ .CommonLabels.SortedPairs.Names }} {{ .CommonLabels.SortedPairs.Values }} {{ .CommonLabels.Names }} {{ .CommonLabels.Values }}
{{ .CommonLabels.Names | join "," }} {{ .CommonLabels.Values | join " / " }} {{ .CommonLabels.SortedPairs.Values | join "" }}
{{ .CommonLabels.Remove .GroupLabels.Names }} | {{ (.CommonLabels.Remove (stringSlice "severity" "nope")).Names }}
{{ with .CommonLabels.Remove .GroupLabels.Names }}{{ .Values | join " " }}{{ end }}{{ with .GroupLabels.Remove .GroupLabels.Names }}some{{ else }}none{{ end }}
{{ range .CommonLabels.SortedPairs }}{{ .Name }}={{ .Value }};{{ end }}
{{ range $k, $v := .CommonLabels }}{{ $k }}={{ $v }};{{ end }}
{{ range (index .Alerts 0).Labels.SortedPairs }}{{ .Name }} {{ end }}{{ index (index .Alerts 1).Labels "Name" }}
{{ .CommonLabels.severity }} {{ .CommonLabels.nope }}| {{ index .CommonLabels "severity" }} {{ index .CommonLabels "nope" }}|
{{ len .Alerts }} {{ len .Alerts.Firing }} {{ len .Alerts.Resolved }} {{ len .CommonLabels }} {{ len .CommonLabels.SortedPairs }} {{ .Alerts.Firing | len }}
{{ if gt (len .Alerts.Firing) 1 }}many{{ else }}few{{ end }} {{ if .Alerts.Resolved }}resolved{{ end }} {{ if .CommonLabels }}labels{{ end }}
{{ range .Alerts }}{{ .Status }} {{ .Fingerprint }} {{ .StartsAt }} {{ .EndsAt }} {{ .GeneratorURL }};{{ end }}
{{ range $i, $a := .Alerts.Firing }}{{ $i }}:{{ $a.Labels.instance }}{{ if eq $i 1 }}!{{ end }};{{ end }}
{{ range .Alerts }}{{ if eq .Status "resolved" }}{{ continue }}{{ end }}{{ .Labels.instance }};{{ end }}{{ range .Alerts }}{{ break }}{{ end }}
{{ (index .Alerts 0).Labels.instance }} {{ (index .Alerts.Resolved 0).Labels.instance }} {{ (index .Alerts 2).EndsAt.IsZero }} {{ (index .Alerts 0).EndsAt.IsZero }}
{{ index .Alerts 7 }}
{{ index .Alerts.Firing 2 }}
{{ .Alerts.Nope }}
{{ .Alerts.Firing.Firing }}
{{ .Nope }}
{{ .CommonLabels.severity.x }}
{{ .CommonLabels.Remove "severity" }}
{{ .CommonLabels.Remove }}
{{ (index .Alerts 0).Nope }}
{{ slice .Alerts 1 3 | len }} {{ (index (slice .Alerts 2) 0).Status }}
{{ $a := index .Alerts 2 }}{{ $a.EndsAt.Sub $a.StartsAt }} {{ ($a.EndsAt.Sub $a.StartsAt).Hours | printf "%.1f" }} {{ ($a.EndsAt.Sub $a.StartsAt).Seconds }} {{ humanizeDuration ($a.EndsAt.Sub $a.StartsAt).Seconds }}
{{ $a := index .Alerts 2 }}{{ ($a.EndsAt.Sub $a.StartsAt).Round 1000000000 }} {{ ($a.EndsAt.Sub $a.StartsAt).Truncate 60000000000 }} {{ ($a.StartsAt.Sub $a.EndsAt).Round 3600000000000 }} {{ ($a.StartsAt.Sub $a.EndsAt).Abs }}
{{ $a := index .Alerts 2 }}{{ $a.StartsAt.Before $a.EndsAt }} {{ $a.StartsAt.After $a.EndsAt }} {{ $a.StartsAt.Equal $a.StartsAt }} {{ $a.StartsAt.Add 3600000000000 }} {{ $a.StartsAt.AddDate 0 1 -1 }} {{ $a.StartsAt.Truncate 3600000000000 }} {{ $a.StartsAt.Round 60000000000 }} {{ $a.StartsAt.Compare $a.EndsAt }}
{{ (index .Alerts 0).EndsAt.Sub (index .Alerts 0).StartsAt }}
{{ (index .Alerts 0).StartsAt.Format "2006-01-02 15:04:05.000 MST" }} {{ (index .Alerts 0).StartsAt.Unix }} {{ (index .Alerts 0).StartsAt.UnixMilli }} {{ (index .Alerts 0).StartsAt.UTC.Weekday }} {{ (index .Alerts 0).StartsAt.Month }} {{ (index .Alerts 0).StartsAt.YearDay }}
{{ date "Jan 2, 2006 at 3:04pm (MST)" (index .Alerts 0).StartsAt }} {{ (index .Alerts 0).StartsAt | tz "Europe/Paris" | date "15:04:05 -0700 MST" }} {{ tz "America/New_York" (index .Alerts 0).StartsAt }}
{{ tz "Nowhere/Land" (index .Alerts 0).StartsAt }}
{{ date "2006" 5 }}
{{ toUpper "abc é" }} {{ toLower "ABC É" }} {{ "  x y " | trimSpace }}|
{{ title "hello world" }} {{ title "HELLO wORLD" }} {{ title "don't stop o'neil" }} {{ title "web-1.example.com:9100" }} {{ title "node_exporter is_up" }} {{ title "a1b 2nd 3D x2y" }} {{ title "éa ßa ǆ" }}
{{ title "a.b.c d:e f,g 1,2 h;i" }} {{ title "DiskFull" }} {{ title "" }}|{{ title "x’y ‘z’ (foo) [bar]" }} {{ title "a/b\\c" }}
{{ join ", " (stringSlice "a" "b" "c") }} {{ stringSlice "a" "b" }} {{ len (stringSlice) }} {{ index (stringSlice "a" "b") 1 }}
{{ join "," .Alerts }}
{{ join "," "a" }}
{{ match "^web" "web-1" }} {{ match "e.1" "we-1x" }} {{ match "^b" "abc" }}
{{ match "(" "x" }}
{{ reReplaceAll "(.*):[0-9]+" "$1" "host:9100" }} {{ "host:9100" | reReplaceAll ":.*" "" }} {{ reReplaceAll "(?P<n>[a-z]+)" "<${n}>" "ab cd" }}
{{ reReplaceAll "(" "" "x" }}
{{ humanizeDuration 0.0 }} {{ humanizeDuration 59 }} {{ humanizeDuration 93784.25 }} {{ humanizeDuration "3600" }} {{ humanizeDuration 0.25 }} {{ humanizeDuration -60.0 }}
{{ humanizeDuration "x" }}
{{ safeHtml "<b>&</b>" }} {{ .CommonAnnotations.bold | safeHtml }}
{{ "<b>" | safeHtml | len }} {{ eq (safeHtml "a") "a" }}
{{ safeUrl "javascript:x" }} {{ urlUnescape "a%20b+c%C3%A9" }}
{{ urlUnescape .CommonAnnotations.encoded }}
{{ toJson .CommonLabels }} {{ toJson "a<b>&\"\u2028" }} {{ toJson 1.5 }} {{ toJson (list 1 "x" nil true 1e21 1e-7 100000.0) }}
{{ toJson (index .Alerts 2).StartsAt }} {{ toJson ((index .Alerts 0).StartsAt | tz "Europe/Paris") }} {{ toJson .CommonLabels.SortedPairs }} {{ toJson (stringSlice "a") }}
{{ base64encode "a" }} {{ base64encode "ab?>" }} {{ base64encode "abc" }} {{ base64encode "" }} {{ base64decode "YWI_Pg==" }} {{ base64decode (base64encode "é~~~") }}
{{ base64decode "a" }}
{{ list 1 "a" }} {{ append (list 1) 2 "x" }} {{ len (list) }} {{ dict "a" 1 "b" (list) }} {{ (dict "a" "x").a }} {{ (dict "a" "x").b }}
{{ dict "a" }}
{{ dict 1 2 }}
{{ template "list" .Alerts.Firing }} {{ template "twice" . }} {{ template "kept" . }} {{ template "calls" . }} {{ template "title" . }}
{{ template "a.tmpl" . }}
{{ template "nowhere" . }}
{{ define "twice" }}own{{ end }}{{ template "twice" . }} {{ template "calls" . }}
{{ block "title" . }}block{{ end }} {{ block "new" .Status }}<{{ . }}>{{ end }}
{{ template "list" (slice .Alerts 1) }}{{ template "link" (dict "url" "https://x/?a=b c" "text" "a & b") }}
{{ printf "%s %v %q" .CommonLabels .GroupLabels .Status }} {{ printf "%d" (len .Alerts) }} {{ printf "%.3s|%-8s|%5d" .Status .Status 42 }}
{{ printf "%T" .Status }} {{ print .Status 1 2 "x" }} {{ println .Status }}
{{ and .Status (len .Alerts) }} {{ or .CommonLabels.nope "default" }} {{ not .Alerts }} {{ eq .Status "firing" "resolved" }} {{ ne .Status "x" }} {{ lt 1 2 }}
{{ .Status | printf "%s-%s" "a" | toUpper }} {{ (printf "%s" .Status) | len }} {{ html "<a>" }} {{ urlquery "a b&c" }} {{ js "it's" }}
{{ $s := .Status }}{{ with .CommonAnnotations.summary }}{{ . }} {{ $s }} {{ $.Status }}{{ end }}{{ with .CommonAnnotations.nope }}x{{ else with .Status }}{{ . }}{{ end }}
{{- /* comment */ -}} a {{- " b " -}} c
{{ $x := 1 }}{{ range .Alerts }}{{ $x = print $x "-" }}{{ end }}{{ $x }}{{ range 3 }}{{ . }}{{ else }}none{{ end }}
{{ $severity := index .CommonLabels "severity" }}{{ if eq $severity "critical" }}High{{ else if and (eq $severity "page") (ne .Status "resolved") }}Medium{{ end }}
{{ .CommonAnnotations.SortedPairs.Names | join " " }}
{{ .Alerts.Firing | index 0 }}
{{ slice .CommonAnnotations.summary 0 4 }} {{ len .CommonAnnotations.summary }} {{ index "abc" 1 }}
{{ toUpper 5 }}
{{ toUpper .Nil }}
{{ .StartsAt }}
`

const htmls = `
a < b <3 << </ <!x <?y <!DOCTYPE html> <a>b</a>
<!doctype html><p>x</p><!-- comment {{ .Status }} --> y <!---->z
<br/><hr><img src=x.png><p class=a id = 'b'  title = "c>d">x</p>
<p{{ if .Alerts }} class="x"{{ end }}>y</p>
<a href="{{ if .Alerts }}https://{{ else }}http://{{ end }}{{ .Status }}">x</a>
<a href="{{ .ExternalURL }}/#/alerts?receiver={{ .Receiver | urlquery }}">x</a>
<a href="{{ .ExternalURL }}{{ .Status }}">x</a><a href=" {{ .CommonAnnotations.evil }}">y</a>
<a href="{{ template "attr" .CommonAnnotations.evil }}">x</a><table>{{ range .Alerts }}{{ template "cell" .Labels.mountpoint }}{{ end }}</table>
<a href="?a={{ .CommonAnnotations.summary }}&amp;b={{ .Status }}#{{ .Status }}">x</a>
<a href="mailto:{{ .CommonAnnotations.summary }}">x</a><a href="javascript:{{ .Status }}">x</a>
<div style="border-left:6px solid {{ if .Alerts }}#c62828{{ else }}green{{ end }}; width: {{ len .Alerts }}px">x</div>
<div style="background:url(&quot;/a/{{ .CommonAnnotations.relative }}&quot;)">x</div>
<style>/* c */ a { color: red } @media x { b { c: d } } // y⏎ p > q {}</style><p>{{ .CommonAnnotations.summary }}</p>
<STYLE>a{b:{{ len .Alerts }}px}</STYLE ><TITLE>a < b {{ .Status }} <b></TITLE><p>
<script>/* c */ var a = "x // y"; // d⏎ f({{ .CommonAnnotations.summary }})</script><p>{{ .Status }}</p>
<script>var a = '{{ .CommonAnnotations.lines }}', b = {{ .CommonLabels }}, c = {{ len .Alerts }};</script>
<textarea>a < b {{ .CommonAnnotations.summary }}</textarea> a < b
<input value={{ .Status }} checked><input {{ .Status }}><input {{ .CommonAnnotations.evil }}=x><input data-{{ .Status }}=x>
<input on{{ .Status }}="x"><i title={{ .Status }}{{ .Status }}>x</i><i title=a{{ .Status }}b>x</i>
<{{ .Status }}>x</{{ .Status }}>
<h{{ len .Alerts }}>x</h{{ len .Alerts }}>
<p>{{ range .Alerts }}<b title='{{ .Labels.instance }}'>{{ .Annotations.summary }}</b><br>{{ end }}</p>
<meta http-equiv="refresh" content="0;url={{ .CommonAnnotations.evil }}"><meta name="a" content="{{ .CommonAnnotations.summary }}">
<p>{{ .CommonAnnotations.bold | safeHtml }}</p><p title="{{ .CommonAnnotations.bold | safeHtml }}">x</p>
<svg:a xmlns:x="{{ .CommonAnnotations.evil }}" my-uri="{{ .CommonAnnotations.evil }}" onx="{{ .Status }}">x</svg:a>
{{ html .CommonAnnotations.summary }} {{ .CommonAnnotations.summary | html }} {{ html .CommonAnnotations.summary | len }}
{{ .CommonAnnotations.summary | urlquery }} {{ print nil }} {{ .CommonAnnotations.nope }}|{{ 1 }} {{ 1.5 }} {{ true }} {{ .GroupLabels }}
<a href='{{ "a'b" }}'>{{ "a'b" }}</a><a href=a?b={{ "x y" }}>z</a><p title=>x</p><p title="">y</p>
`
