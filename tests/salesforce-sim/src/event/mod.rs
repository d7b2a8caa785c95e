//! Change events: the schema, the bitmaps, the datum, and the bus that keeps them.

pub(crate) mod bitmap;
pub(crate) mod encode;
pub(crate) mod log;
pub(crate) mod schema;
