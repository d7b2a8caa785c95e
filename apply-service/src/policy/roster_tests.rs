//! Tests of lists in policy files.
