//! Which types files of an extension have: those that are registered, and those that servers send.

/// Extensions, and the types that fit them.
pub(super) const KINDS: &[(&[&str], &[&str])] = &[
    (&["css"], &["text/css"]),
    (&["js", "mjs", "cjs"], JAVASCRIPT),
    (&["map"], &["application/json", "text/plain", "application/x-navimap"]),
    (&["json"], &["application/json", "text/json", "application/*"]),
    (&["webmanifest"], &["application/manifest+json", "application/json"]),
    (&["wasm"], &["application/wasm"]),
    (
        &[
            "apng", "avif", "bmp", "cur", "gif", "heic", "heif", "ico", "jfif", "jpeg", "jpg", "jxl", "pict",
            "png", "svg", "svgz", "tif", "tiff", "webp",
        ],
        &["image/*"],
    ),
    (&["eot", "otf", "ttf", "woff", "woff2"], FONT),
    (&["aac", "flac", "m4a", "mid", "midi", "mp3", "oga", "opus", "wav", "weba"], &["audio/*"]),
    (&["ogg"], &["audio/*", "video/*", "application/ogg"]),
    (&["3gp", "avi", "m4s", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "ogv", "webm", "wmv"], VIDEO),
    (&["ts"], &["video/mp2t", "video/vnd.dlna.mpeg-tts", "application/typescript", "text/typescript"]),
    (&["m3u8"], &["application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/*"]),
    (&["pls"], &["audio/x-scpls", "audio/scpls"]),
    (&["mpd"], &["application/dash+xml"]),
    (&["vtt"], &["text/vtt"]),
    (&["srt"], &["application/x-subrip", "text/plain"]),
    (&["pdf"], &["application/pdf"]),
    (&["ps", "eps", "ai"], &["application/postscript"]),
    (&["doc", "docx", "odp", "ods", "odt", "ppt", "pptx", "rtf", "xls", "xlsx"], OFFICE),
    (&["epub"], &["application/epub+zip"]),
    (&["csv", "tsv"], &["text/csv", "text/tab-separated-values", "application/csv"]),
    (&["txt", "md"], &["text/plain", "text/markdown"]),
    (&["xml", "rss", "atom", "xsl", "xslt"], XML),
    (&["htm", "html", "xhtml"], &["text/html", "application/xhtml+xml"]),
    (&["swf"], &["application/x-shockwave-flash", "application/vnd.adobe.flash.movie"]),
    (&["class", "jar"], &["application/java-archive", "application/x-java-archive", "application/java-vm"]),
    (&["ejs"], &["text/plain", "application/javascript"]),
    (&["7z", "br", "bz2", "gz", "lz4", "rar", "tar", "tgz", "xz", "zip", "zst"], ARCHIVE),
    (
        &["apk", "appx", "cab", "deb", "dmg", "exe", "iso", "msi", "msix", "pkg", "rpm", "whl", "bin", "img"],
        PACKAGE,
    ),
];

const JAVASCRIPT: &[&str] =
    &["text/javascript", "application/javascript", "application/x-javascript", "application/ecmascript"];

const FONT: &[&str] = &[
    "font/*",
    "application/font-woff",
    "application/font-woff2",
    "application/font-sfnt",
    "application/vnd.ms-fontobject",
    "application/vnd.ms-opentype",
    "application/x-font-opentype",
    "application/x-font-otf",
    "application/x-font-truetype",
    "application/x-font-ttf",
    "application/x-font-woff",
    "application/x-woff",
];

const VIDEO: &[&str] = &["video/*", "audio/mp4", "audio/webm"];

const OFFICE: &[&str] = &[
    "application/msword",
    "application/rtf",
    "text/rtf",
    "application/vnd.ms-*",
    "application/vnd.oasis.opendocument.*",
    "application/vnd.openxmlformats-officedocument.*",
];

const XML: &[&str] = &[
    "application/xml",
    "text/xml",
    "application/rss+xml",
    "application/atom+xml",
    "application/xslt+xml",
    "text/xsl",
];

const ARCHIVE: &[&str] = &[
    "application/gzip",
    "application/x-gzip",
    "application/x-tar",
    "application/x-gtar",
    "application/x-compressed-tar",
    "application/x-compressed",
    "application/x-bzip2",
    "application/x-bzip",
    "application/x-xz",
    "application/zstd",
    "application/x-zstd",
    "application/x-lz4",
    "application/zip",
    "application/x-zip-compressed",
    "application/x-7z-compressed",
    "application/vnd.rar",
    "application/x-rar-compressed",
    "application/x-brotli",
];

const PACKAGE: &[&str] = &[
    "application/vnd.android.package-archive",
    "application/vnd.debian.binary-package",
    "application/x-debian-package",
    "application/x-deb",
    "application/x-rpm",
    "application/x-redhat-package-manager",
    "application/x-apple-diskimage",
    "application/x-iso9660-image",
    "application/x-msdownload",
    "application/x-msdos-program",
    "application/x-msi",
    "application/vnd.ms-*",
    "application/vnd.microsoft.portable-executable",
    "application/x-newton-compatible-pkg",
    "application/x-xar",
    "application/zip",
    "application/x-wheel+zip",
    "application/x-raw-disk-image",
];
