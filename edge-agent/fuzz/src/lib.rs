//! Nothing but the fuzz targets of the formats, in `tests`: a crate of their own, since whatever is
//! built for a coverage-guided engine must be linked with it.
