//! Query cases as data files, the conformance files where they are there, and what no text may do.

mod cases;
mod conformance;
mod notation;
mod refusals;
