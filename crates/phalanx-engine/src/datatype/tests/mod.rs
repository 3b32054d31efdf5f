//! Tests of datatypes: against a naive model on random nested types, and single cases.

mod cases;
mod model;
