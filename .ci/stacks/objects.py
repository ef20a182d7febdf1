"""An S3 API (moto) by boto3, HLS as a live stream of files, a WordPress-like site with its cookies."""
import urllib.request
from http.server import BaseHTTPRequestHandler

from lab import *

MIB = 1 << 20
ODD_KEYS = ("a.txt", "dir//double.txt", "über straße.txt", "a+b c&d=e?f#g%h.txt", "~tilde.txt", "quote'\"<>.txt", "{braces}|^`.txt")


def s3():
    import boto3
    from botocore.config import Config
    port = free_port()
    os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="y")
    with process([f"{TOOLS}/venv/bin/moto_server", "-H", "127.0.0.1", "-p", str(port)], port), edge(port) as front:
        settings = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1})
        through, past = (boto3.client("s3", endpoint_url=f"http://127.0.0.1:{p}", region_name="us-east-1", config=settings) for p in (front, port))
        through.create_bucket(Bucket="bucket")
        for key in ODD_KEYS:
            through.put_object(Bucket="bucket", Key=key, Body=key.encode())
            check(f"s3: the key {key!r}", through.get_object(Bucket="bucket", Key=key)["Body"].read() == key.encode())
        through.put_object(Bucket="bucket", Key="a.txt", Body=b"2")
        check("s3: what was overwritten is read", through.get_object(Bucket="bucket", Key="a.txt")["Body"].read() == b"2")
        data = os.urandom(12 * MIB)
        upload = through.create_multipart_upload(Bucket="bucket", Key="big")["UploadId"]
        parts = [{"PartNumber": n + 1, "ETag": through.upload_part(Bucket="bucket", Key="big", UploadId=upload, PartNumber=n + 1, Body=data[n * 6 * MIB:(n + 1) * 6 * MIB])["ETag"]}
                 for n in range(2)]
        through.complete_multipart_upload(Bucket="bucket", Key="big", UploadId=upload, MultipartUpload={"Parts": parts})
        check("s3: an upload in parts, read whole", through.get_object(Bucket="bucket", Key="big")["Body"].read() == data)
        part = through.get_object(Bucket="bucket", Key="big", Range="bytes=7000000-7000099")["Body"].read()
        check("s3: and by range", part == data[7000000:7000100])
        signed = through.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": ODD_KEYS[2]})
        check("s3: a presigned URL", urllib.request.urlopen(signed).read() == ODD_KEYS[2].encode())
        past.put_object(Bucket="bucket", Key="a.txt", Body=b"3")
        check("s3: what was overwritten past the edge is read by its users", through.get_object(Bucket="bucket", Key="a.txt")["Body"].read() == b"3")
        through.delete_object(Bucket="bucket", Key="a.txt")
        try:
            through.get_object(Bucket="bucket", Key="a.txt")
            check("s3: what was deleted is gone", False)
        except through.exceptions.NoSuchKey:
            check("s3: what was deleted is gone", True)


class Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def say(self, body, status=200, **fields):
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def hls():
    """A playlist that is written anew for each segment; segments that stay. A player asks by range, too."""
    live = [0]

    class Stream(Quiet):
        def do_GET(self):
            if self.path.endswith(".m3u8"):
                text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{live[0]}\n" + "".join(f"#EXTINF:1,\nseg{n}.ts\n" for n in range(live[0], live[0] + 3))
                return self.say(text.encode(), Cache_Control="no-cache", Content_Type="application/vnd.apple.mpegurl")
            number = int(re.search(r"seg(\d+)", self.path)[1])
            if number > live[0] + 2:
                return self.say(b"", 404)
            body = b"%08d" % number * 20000
            if match := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"] or ""):
                first, last = int(match[1]), int(match[2])
                return self.say(body[first:last + 1], 206, Content_Range=f"bytes {first}-{last}/{len(body)}", Cache_Control="max-age=600")
            self.say(body, Cache_Control="max-age=600", Accept_Ranges="bytes")
    behind, broken = [], []
    with serving(Stream) as port, edge(port) as front:
        for n in range(20):
            live[0] = n
            playlist = ask(front, "/live.m3u8").body.decode()
            behind.append(n - int(re.search(r"SEQUENCE:(\d+)", playlist)[1]))
            newest = re.findall(r"seg(\d+)", playlist)[-1]
            part = ask(front, f"/seg{newest}.ts", Range="bytes=8000-8007")
            whole = ask(front, f"/seg{newest}.ts")
            if part.status != 206 or part.body != b"%08d" % int(newest) or whole.status != 200 or len(whole.body) != 160000:
                broken.append((newest, part, whole))
    check("hls: the playlist is never behind", set(behind) == {0}, behind)
    check("hls: each segment is there, by range and whole", not broken, broken)


def wordpress():
    """Pages that are the same for visitors and their own for who is logged in; the editor deletes by POST and a field."""
    deleted = []

    class Site(Quiet):
        def do_GET(self):
            cookie = self.headers["Cookie"] or ""
            self.say(b"edit this page" if "wordpress_logged_in" in cookie else b"page", Content_Type="text/html")

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            deleted.append(self.headers["X-HTTP-Method-Override"])
            self.say(b"done")
    settings = 'default_ttl = "10m"\nbypass_cookies = ["wordpress_logged_in_*", "wp-postpass_*"]'
    with serving(Site) as port, edge(port, settings) as front:
        pages = [ask(front, "/hello") for _ in range(2)]
        check("wordpress: visitors' pages are hits", "hit" in pages[1].field("cache-status"), pages)
        mine = ask(front, "/hello", Cookie="wordpress_logged_in_0a1b2c=alice")
        check("wordpress: the author sees his own", mine.body == b"edit this page", mine)
        check("wordpress: visitors see the page as before", ask(front, "/hello", Cookie="_ga=1").body == b"page")
        ask(front, "/wp-json/wp/v2/posts/1", "POST", b"", X_HTTP_Method_Override="DELETE")
        check("wordpress: the editor's delete reaches the site as one", deleted == ["DELETE"], deleted)


def stack():
    s3()
    hls()
    wordpress()
