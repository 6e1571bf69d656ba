use crate::fuzz::Fuzz;
use crate::model::Timestamp;
use crate::template::{Context, Kind, Limits, Set, Template, Value, alertmanager};

const EVIL: &str = "\"'`><script>alert(1)</script>\\*/-->javascript:alert(1)//\n";

fn html(text: &str, value: &str) -> Option<String> {
    let functions = alertmanager::functions();
    let limits = Limits { output: 1 << 16, steps: 10_000 };
    let context = Context { query: None, external_url: "", now: Timestamp::from_millis(0), limits };
    let data =
        Value::structure("data", vec![("X", value.into()), ("Many", Value::List(vec![Value::from(value)].into()))]);
    Template::parse("", text, functions).ok()?.execute_in(&Set::new(functions), &data, &context, Kind::Html).ok()
}

#[test]
fn what_a_value_may_do_depends_on_where_it_stands() {
    for (text, value, expected) in [
        ("<p>{{ .X }}</p>", "a<b>&'\"", "<p>a&lt;b&gt;&amp;&#39;&#34;</p>"),
        ("<a href=\"{{ .X }}\">", "javascript:alert(1)", "<a href=\"#ZgotmplZ\">"),
        ("<a href=\"{{ .X }}\">", "https://x/a b?c=d&e", "<a href=\"https://x/a%20b?c=d&amp;e\">"),
        ("<a href=\"/?q={{ .X }}\">", "a&b=c", "<a href=\"/?q=a%26b%3dc\">"),
        ("<a title={{ .X }}>", "a onclick=b", "<a title=a&#32;onclick&#61;b>"),
        ("<a {{ .X }}=1>", "onclick", "<a ZgotmplZ=1>"),
        ("<p style=\"color: {{ .X }}\">", "red; background: url(x)", "<p style=\"color: ZgotmplZ\">"),
        // A quote in a regular expression does not make code of what follows.
        ("<script>a = /\"/; b = {{ .X }}</script>", "f(1)", "<script>a = /\"/; b = f\\u00281\\u0029</script>"),
        ("<p>{{ .X | safeHtml }}</p>", "<b>x</b>", "<p><b>x</b></p>"),
        ("<a href=\"{{ .X | safeUrl }}\">", "tel:123", "<a href=\"tel:123\">"),
        // Which of both it is shows when it is written.
        ("<a {{ if .X }}href{{ else }}title{{ end }}=\"{{ .X }}\">", "javascript:x", "<a href=\"#ZgotmplZ\">"),
    ] {
        assert_eq!(html(text, value).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn no_text_makes_it_panic_or_lets_a_value_out_of_its_place() {
    let good = [
        "<p class=\"a\" title='{{ .X }}' data-x={{ .X }}>{{ .X }}</p><!-- {{ .X }} -->",
        "<a href=\"/a?b={{ .X }}#{{ .X }}\">{{ range .Many }}<b>{{ . }}</b>{{ end }}</a>",
        "<style>a { b: \"{{ .X }}\"; c: url({{ .X }}) } /* {{ .X }} */</style><i style='d: {{ .X }}'>",
        "<script>var a = {{ .X }}, b = '{{ .X }}', c = `{{ .X }}`; // {{ .X }}\n</script><b onclick=\"f({{ .X }})\">",
        "<textarea>{{ .X }}</textarea><title>{{ .X }}</title><img srcset=\"{{ .X }}\"><meta content=\"0;url={{ .X }}\">",
        "{{ .X | html }}<a href='{{ .X | urlquery }}' {{ .X }}={{ html .X }}>{{ toJson .Many }}{{ title .X }}",
    ];
    let words =
        ["{{ .X }}", "<script>", "</script>", "<style>", "</", "<!--", "-->", "=\"", "='", "url(", "/*", "`", "&quot;"];
    Fuzz::of(&good).words(&words).heap(64 << 20).texts(|text| {
        if let Some(out) = html(text, EVIL) {
            assert!(!out.contains("<script>alert"), "{text}\n{out}");
        }
    });
}
