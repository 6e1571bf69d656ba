//! `/metrics`: the freshness rule, the negotiated format, and one encoding for all who ask for the same.

use std::io::Write;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, HeaderName, HeaderValue, VARY};
use hyper::{HeaderMap, Response, StatusCode};
use tokio::sync::Mutex;

use super::App;
use super::instruments::Instruments;
use super::reply::{Reply, reply, text};
use super::selection::Selection;
use crate::exposition::{Format, Pages, Preferences};
use crate::model::Snapshot;

/// How old a snapshot may be that is served.
pub const MAX_AGE: Duration = Duration::from_secs(1);
/// Below this a compressed answer saves no packet.
const MIN_COMPRESSED: usize = 1000;

/// Parts of the page that are kept ready: as many as one has scrape jobs with different `collect[]`.
const MAX_PARTS: usize = 16;

/// Answers scrapes.
#[derive(Default)]
pub(super) struct Scrape {
    whole: View,
    /// Of those that ask for some collectors alone, the latest last. Held for moments.
    parts: std::sync::Mutex<Vec<(Selection, Arc<View>)>>,
    /// Held by the one request that has the host sampled; the others wait for it.
    sampling: Mutex<()>,
}

/// A page, or a part of it, in all formats.
#[derive(Default)]
struct View {
    pages: Pages,
    /// The last snapshot's answers. Held while one is made: who asks for the same at the same time gets the same.
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    of: Option<Arc<Snapshot>>,
    bodies: Vec<(Format, bool, Bytes)>,
}

impl Scrape {
    pub async fn answer<A: App>(
        &self,
        app: &A,
        query: Option<&str>,
        headers: &HeaderMap,
        instruments: &Instruments,
    ) -> Response<Reply> {
        let selection = match Selection::parse(query) {
            Ok(selection) => selection,
            Err(why) => return text(StatusCode::BAD_REQUEST, why),
        };
        let Some(snapshot) = self.fresh(app).await else {
            return text(
                StatusCode::SERVICE_UNAVAILABLE,
                "The agent does not sample the host any more: it is stopping.\n",
            );
        };
        let (format, gzip) = (Format::negotiate(&all(headers, &ACCEPT)), gzip_is_taken(headers));
        let body = if selection == Selection::All {
            let body = self.whole.body(&snapshot, format, gzip).await;
            instruments.page_left_out(self.whole.pages.left_out(&snapshot));
            body
        } else {
            let runs = app.overview().collectors;
            let is_known = |name: &str| {
                runs.iter().any(|c| c.name == name) || snapshot.sections.iter().any(|s| s.exposed && s.name == name)
            };
            if let Some(name) = selection.unknown(is_known) {
                let why = format!("No collector {name:?} runs here: it is unknown or switched off.\n");
                return text(StatusCode::BAD_REQUEST, why);
            }
            self.part(selection).body(&snapshot, format, gzip).await
        };
        let body = match body {
            Ok(body) => body,
            Err(e) => {
                tracing::error!(error = %e, "the metrics cannot be encoded");
                return text(StatusCode::INTERNAL_SERVER_ERROR, format!("The metrics cannot be encoded: {e}\n"));
            }
        };
        let compressed = body.starts_with(&GZIP_MAGIC);
        let mut response = reply(StatusCode::OK, format.content_type(), body);
        response.headers_mut().insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        if compressed {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }

    /// A snapshot no older than [`MAX_AGE`] when it was found, however long that took; `None` when there is none to be
    /// had. An old one is never served in its place: to the scraper the host would look well, and frozen.
    async fn fresh<A: App>(&self, app: &A) -> Option<Arc<Snapshot>> {
        let asked = Instant::now();
        let fresh = || app.latest().filter(|s| s.taken >= asked || s.taken.elapsed() <= MAX_AGE);
        if let Some(snapshot) = fresh() {
            return Some(snapshot);
        }
        let _sampling = self.sampling.lock().await;
        if let Some(snapshot) = fresh() {
            return Some(snapshot);
        }
        // Served whatever time passes from here on: on a machine without a CPU to spare that may be long.
        app.sample().await
    }

    /// The part of the page that is asked for.
    fn part(&self, selection: Selection) -> Arc<View> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = parts.iter().position(|(s, _)| *s == selection) {
            parts[at..].rotate_left(1);
        } else {
            let wanted = selection.clone();
            let pages = Pages::of_part(Box::new(move |section, labels| wanted.wants(section, labels)));
            if parts.len() >= MAX_PARTS {
                parts.remove(0);
            }
            parts.push((selection, Arc::new(View { pages, made: Mutex::default() })));
        }
        parts.last().map(|(_, view)| view.clone()).unwrap_or_default()
    }
}

impl View {
    async fn body(&self, snapshot: &Arc<Snapshot>, format: Format, gzip: bool) -> Result<Bytes, prometheus::Error> {
        let mut made = self.made.lock().await;
        if !made.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, snapshot)) {
            *made = Made { of: Some(snapshot.clone()), bodies: Vec::new() };
        }
        if let Some((_, _, body)) = made.bodies.iter().find(|(f, g, _)| (*f, *g) == (format, gzip)) {
            return Ok(body.clone());
        }
        let page = self.pages.encode(snapshot, format)?;
        let body = Bytes::from(if gzip && worth_compressing(&page) { compress(&page)? } else { page });
        made.bodies.push((format, gzip, body.clone()));
        Ok(body)
    }
}

/// What every gzip stream begins with, and no exposition format.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

fn compress(page: &[u8]) -> std::io::Result<Vec<u8>> {
    // The fast level: a page shrinks to a tenth already, and the others cost several times the CPU for a little more.
    let mut encoder = GzEncoder::new(Vec::with_capacity(page.len() / 8), Compression::fast());
    encoder.write_all(page)?;
    encoder.finish()
}

/// All values of a header that is a list.
fn all(headers: &HeaderMap, name: &HeaderName) -> String {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).collect();
    values.join(",")
}

/// Whether an answer that begins so is to be compressed for who takes that.
pub(super) fn worth_compressing(text: &[u8]) -> bool {
    text.len() >= MIN_COMPRESSED
}

/// Whether the request asks for gzip.
pub(super) fn gzip_is_taken(headers: &HeaderMap) -> bool {
    takes_gzip(&all(headers, &ACCEPT_ENCODING))
}

/// Whether the client takes gzip, and does not like the plain text better.
fn takes_gzip(accept_encoding: &str) -> bool {
    let quality = |coding: &str| {
        let found = Preferences::parse(accept_encoding).iter().find(|p| p.value.eq_ignore_ascii_case(coding));
        found.map(|p| p.quality)
    };
    let gzip = quality("gzip").or_else(|| quality("x-gzip")).or_else(|| quality("*")).unwrap_or(0);
    gzip > 0 && gzip >= quality("identity").unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::Fuzz;

    #[test]
    fn gzip_is_for_those_who_ask_for_it() {
        for (header, takes) in [
            ("gzip", true),
            ("deflate, GZIP;q=1.0, *;q=0.5", true),
            ("br, *", true),
            ("gzip;q=0.001", true),
            ("identity, gzip", true),
            ("", false),
            ("identity", false),
            ("gzip;q=0, *", false),
            ("gzip;q=0.2, identity;q=0.9", false),
            ("gzip;q=banana", false),
        ] {
            assert_eq!(takes_gzip(header), takes, "{header}");
        }
    }

    #[test]
    fn no_header_makes_it_panic() {
        Fuzz::of(&["gzip;q=0.5, deflate, *;q=0", "identity;q=1,x-gzip"]).texts(|header| {
            takes_gzip(header);
        });
    }
}
