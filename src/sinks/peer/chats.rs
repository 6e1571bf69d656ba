//! The same for chats: Slack, Discord, Webex and Telegram. (Pushover's address is fixed in Alertmanager, and the others are
//! newer than the one that Debian has.)

use super::super::message::testing::{context, entry};
use super::super::{DiscordConfig, SinkConfig, SlackConfig, TelegramConfig, WebexConfig};
use super::*;

/// Texts with the functions and data that people use.
const SUBJECT: &str = "[{{ .Status | toUpper }}:{{ .Alerts.Firing | len }}] {{ .GroupLabels.SortedPairs.Values | join \" \" }} \
     {{ with .CommonLabels.Remove .GroupLabels.Names }}({{ .Values | join \",\" }}){{ end }} & <b>";
const LIST: &str = "{{ range .Alerts }}{{ .Labels.instance }} <i>{{ .Annotations.summary }}</i> {{ .Labels.unit }} \
     {{ .GeneratorURL }}|{{ end }}{{ .ExternalURL }} {{ .Receiver }}";

fn slack(far: SocketAddr) -> String {
    format!(
        "{{api_url: 'http://{far}/slack', send_resolved: true, channel: '#{{{{ .CommonLabels.severity }}}}', \
          username: us, title: '{}{SUBJECT}', title_link: 'http://l?a=1&b=2', pretext: '', text: '{LIST}', \
          fallback: '{SUBJECT}', callback_id: c, footer: f, icon_emoji: ':fire:', icon_url: '', \
          image_url: 'http://i/p.png', link_names: true, short_fields: true, \
          fields: [{{title: unit, value: '{{{{ .CommonLabels.unit }}}}'}}, {{title: a, value: b, short: false}}], \
          actions: [{{type: button, text: Go, url: 'http://r', name: gone}}, \
                    {{type: button, text: Ack, name: ack, value: v, style: danger, confirm: {{text: \"Sure?\", ok_text: y}}}}]}}",
        "ä".repeat(1020)
    )
}

fn discord(far: SocketAddr) -> String {
    format!("{{webhook_url: 'http://{far}/discord', title: '{SUBJECT}', message: '{LIST}', content: ''}}")
}

fn webex(far: SocketAddr) -> String {
    format!(
        "{{api_url: 'http://{far}/webex', room_id: room, message: '{LIST}{}', \
          http_config: {{authorization: {{credentials: hunter2}}}}}}",
        // The peer panics when it cuts a text of other letters.
        "x".repeat(8000)
    )
}

fn telegram(far: SocketAddr, mode: &str) -> String {
    format!(
        "{{api_url: 'http://{far}/tg{mode}', bot_token: '12:hunter2', chat_id: -100123, message: '{LIST}', \
          parse_mode: '{mode}', disable_notifications: {}}}",
        mode.is_empty()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chats_are_told_byte_for_byte_what_alertmanager_tells_them() {
    const OK: &str = r#"{"ok":true,"result":{"message_id":1,"chat":{"id":1}}}"#;
    let dir = tempfile::tempdir().unwrap();
    let (far, theirs) = far_side(vec![(200, vec![], OK)]).await;
    // Discord's content is newer than the peer, which sends an empty one.
    let config = format!(
        "route: {{receiver: all, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}\n\
         receivers:\n- name: all\n  webhook_configs: [{{url: 'http://{far}/hook'}}]\n  \
         slack_configs: [{}]\n  discord_configs: [{}]\n  webex_configs: [{}]\n  telegram_configs: [{}, {}]\n",
        slack(far),
        discord(far).replace(", content: ''", ""),
        webex(far),
        telegram(far, "HTML"),
        telegram(far, "")
    );
    let Some(peer) = Alertmanager::start(dir.path(), &config).await else { return };

    let (our_far, ours) = far_side(vec![(200, vec![], OK)]).await;
    let context = context(None);
    let sinks = [
        entry::<SlackConfig>(&slack(our_far), "{}").build(&context),
        entry::<DiscordConfig>(&discord(our_far), "{}").build(&context),
        entry::<WebexConfig>(&webex(our_far), "{}").build(&context),
        entry::<TelegramConfig>(&telegram(our_far, "HTML"), "{}").build(&context),
        entry::<TelegramConfig>(&telegram(our_far, ""), "{}").build(&context),
    ];
    let starts_at = Timestamp::now();
    for (ends_at, from, to) in [(None, 0, 6), (Some(Timestamp::now()), 6, 12)] {
        post(&peer, starts_at, ends_at).await;
        let theirs = arrived(&peer, &theirs, from, to).await;
        let told = notification(&theirs.iter().find(|s| s.path == "/hook").unwrap().body);
        for sink in &sinks {
            sink.deliver(&told).await.unwrap();
        }
        let ours = std::mem::take(&mut *ours.lock().unwrap());
        for (ours, theirs) in asked(&ours).iter().zip(&asked(&theirs)) {
            assert_eq!(ours.replace(&our_far.to_string(), ""), theirs.replace(&far.to_string(), ""));
        }
        assert_eq!(ours.len(), sinks.len());
    }
}
