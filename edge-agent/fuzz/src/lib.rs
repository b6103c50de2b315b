//! Nothing but the fuzz targets of the formats, in `tests`: a crate of their own, since whatever is
//! built for a fuzzer must be linked with it.
