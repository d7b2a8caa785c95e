//! Tests of a list.
