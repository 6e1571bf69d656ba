//! `label_replace` and `label_join`.

use super::text_argument;
use crate::promql::error::EvalError;
use crate::promql::eval::{Eval, unique};
use crate::promql::plan::{Call, Extra};
use crate::promql::value::Sample;

impl Eval<'_> {
    /// `label_replace(v, destination, replacement, source, pattern)`.
    pub(super) fn label_replace(&mut self, call: &Call, now: i64) -> Result<Vec<Sample>, EvalError> {
        let (destination, replacement, source) =
            (text_argument(call, 1), text_argument(call, 2), text_argument(call, 3));
        let mut vector = self.vector_argument(call, 0, now)?;
        let Extra::Regex(regex) = &call.extra else { return Ok(vector) };
        for s in &mut vector {
            self.check_deadline()?;
            let Some(captures) = regex.regex().captures(s.labels.get(source)) else { continue };
            // Templates repeat what they are given, so a short one makes a long value.
            let value = regex.expand(replacement, &captures, self.room()).ok_or_else(|| self.no_room())?;
            let mut builder = s.labels.builder();
            builder.set(destination, &value);
            s.labels = builder.build();
            self.built(&s.labels)?;
        }
        unique(vector)
    }

    /// `label_join(v, destination, separator, source...)`.
    pub(super) fn label_join(&mut self, call: &Call, now: i64) -> Result<Vec<Sample>, EvalError> {
        let (destination, separator) = (text_argument(call, 1), text_argument(call, 2));
        let mut vector = self.vector_argument(call, 0, now)?;
        for s in &mut vector {
            let values: Vec<&str> = (3..call.arguments.len()).map(|i| s.labels.get(text_argument(call, i))).collect();
            let separators = separator.len().saturating_mul(values.len());
            if values.iter().map(|v| v.len()).sum::<usize>().saturating_add(separators) > self.room() {
                return Err(self.no_room());
            }
            let mut builder = s.labels.builder();
            builder.set(destination, &values.join(separator));
            s.labels = builder.build();
            self.built(&s.labels)?;
        }
        unique(vector)
    }
}
