//! Rules that hold before a zone is served, and warnings for what hurts later.
