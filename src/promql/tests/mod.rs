//! Query cases as data files, the conformance files where they are there, what queries tell besides, what they may take,
//! what reading ahead must not change, and what no text may do.

mod ahead;
mod annotations;
mod cases;
mod conformance;
mod limits;
mod notation;
mod refusals;
mod shared;
