//! What the door says: parts, tags, names, links, and no.

use cody_batch::api::downloads::{Download, LIFE};
use cody_events::digest::Sha256;
use cody_events::envelope::Door;
use cody_events::ids::{JobId, TargetNumber};
use reqwest::{Method, StatusCode};
use uuid::Uuid;

use super::ground::{ALONE, JOB, World, header};
use super::report::{created, patch, produced, story};

#[tokio::test]
async fn a_patch_is_its_bytes_under_its_hash_and_older_ones_are_there() {
    let _shared = ALONE.read().await;
    let world = story().await;
    let latest = world.get("targets/1/diff.patch").send().await.unwrap();
    assert_eq!(
        header(&latest, "etag"),
        format!("\"{}\"", Sha256::of(patch("good day").as_bytes()))
    );
    assert_eq!(header(&latest, "content-disposition"), "attachment; filename=\"acme-api.patch\"");
    assert_eq!(header(&latest, "content-type"), "text/x-patch");
    assert_eq!(header(&latest, "x-content-type-options"), "nosniff");
    assert_eq!(header(&latest, "accept-ranges"), "bytes");
    assert_eq!(latest.text().await.unwrap(), patch("good day"));
    let hash = Sha256::of(patch("hi").as_bytes());
    let older = world.get(&format!("targets/1/diff.patch?diff={hash}")).send().await.unwrap();
    let name = format!("attachment; filename=\"acme-api-{}.patch\"", &hash.to_string()[..12]);
    assert_eq!(header(&older, "content-disposition"), name);
    assert_eq!(older.text().await.unwrap(), patch("hi"));
}

#[tokio::test]
async fn what_is_had_is_not_sent_again_until_something_happens() {
    let _shared = ALONE.read().await;
    let world = story().await;
    for path in [
        "report.md",
        "diffs.tar.gz",
        "events.ndjson",
        "events.ndjson?after=3&payloads=false",
        "targets/1/thread.md",
        "targets/1/thread.json",
    ] {
        let first = world.get(path).send().await.unwrap();
        let tag = header(&first, "etag");
        assert!(tag.len() == 66 && first.status() == 200, "{path}: {tag}");
        let bytes = first.bytes().await.unwrap();
        for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            let again = world.get(path).header("if-none-match", known).send().await.unwrap();
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path}");
            assert_eq!(header(&again, "etag"), tag);
            assert!(again.bytes().await.unwrap().is_empty());
        }
        let other = world.get(path).header("if-none-match", "\"x\"").send().await.unwrap();
        assert_eq!(header(&other, "etag"), tag);
        assert!(other.bytes().await.unwrap() == bytes, "{path}: the same stand, the same bytes");
        world.append("ada", Door::Cli, vec![produced(2, &patch(path))]).await;
        let later = world.get(path).header("if-none-match", tag.clone()).send().await.unwrap();
        assert_eq!(later.status(), StatusCode::OK, "{path}");
        assert_ne!(header(&later, "etag"), tag);
    }
    let tags = ["report.md", "diffs.tar.gz"]
        .map(async |path| header(&world.get(path).send().await.unwrap(), "etag"));
    let [report, archive] = tags;
    assert_ne!(report.await, archive.await);
}

#[tokio::test]
async fn a_part_is_sent_where_a_part_is_asked_for() {
    let _shared = ALONE.read().await;
    let world = story().await;
    // One that lies in memory, and one that lies in a file.
    let long = patch(&"x".repeat(3_000_000));
    world.append("ada", Door::Cli, vec![produced(2, &long)]).await;
    for path in ["report.md", "targets/2/diff.patch"] {
        let whole = world.get(path).send().await.unwrap();
        let (tag, length) = (header(&whole, "etag"), header(&whole, "content-length"));
        let whole = whole.bytes().await.unwrap();
        assert_eq!(length, whole.len().to_string());
        let size = whole.len();
        for (range, part) in [
            ("bytes=0-99".to_owned(), 0..100),
            (format!("bytes={}-", size - 5), size - 5..size),
            ("bytes=-7".to_owned(), size - 7..size),
            (format!("bytes=100-{}", size * 2), 100..size),
        ] {
            let answer = world.get(path).header("range", &range).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT, "{path} {range}");
            let said = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            assert_eq!(header(&answer, "content-range"), said);
            assert_eq!(header(&answer, "content-length"), part.len().to_string());
            assert!(answer.bytes().await.unwrap() == whole[part], "{path} {range}");
        }
        let range = format!("bytes={size}-");
        let beyond = world.get(path).header("range", range).send().await.unwrap();
        assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(header(&beyond, "content-range"), format!("bytes */{size}"));
        let with = |tag: &str| world.get(path).header("range", "bytes=0-9").header("if-range", tag);
        let same = with(&tag).send().await.unwrap();
        assert_eq!(same.status(), StatusCode::PARTIAL_CONTENT);
        for other in ["\"x\"", &format!("W/{tag}"), "Tue, 01 Dec 2026 00:00:00 GMT"] {
            let answer = with(other).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{other}");
            assert!(answer.bytes().await.unwrap() == whole);
        }
        for strange in ["bytes=0-1,4-5", "bytes=9-1", "lines=1-2"] {
            let answer = world.get(path).header("range", strange).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{strange}");
        }
    }
    let events = world.get("events.ndjson").header("range", "bytes=0-9").send().await.unwrap();
    assert_eq!(events.status(), StatusCode::OK);
    assert_eq!(header(&events, "accept-ranges"), "none");
}

#[tokio::test]
async fn events_go_on_after_a_version_and_leave_payloads_out() {
    let _shared = ALONE.read().await;
    let world = story().await;
    let text = async |path: &str| world.get(path).send().await.unwrap().text().await.unwrap();
    let all = text("events.ndjson").await;
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(text("events.ndjson?after=5").await.lines().collect::<Vec<_>>(), lines[5..]);
    assert_eq!(text("events.ndjson?after=9999").await, "");
    let bare = text("events.ndjson?payloads=false").await;
    for (bare, line) in bare.lines().zip(&lines) {
        let [bare, mut line]: [serde_json::Value; 2] =
            [bare, line].map(|text| serde_json::from_str(text).unwrap());
        line["payload"] = serde_json::Value::Null;
        assert_eq!(bare, line);
    }
    let json = text("targets/1/thread.json").await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["target"], &json["repository"]), (&1.into(), &"acme/api".into()));
    let thread = text("targets/1/thread.json?thread=2").await;
    let thread: serde_json::Value = serde_json::from_str(&thread).unwrap();
    let kinds: Vec<&str> =
        thread["events"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["thread-started", "call-permitted", "claude-turn", "diff-reviewed"]);
}

#[tokio::test]
async fn a_head_has_the_headers_and_no_body() {
    let _shared = ALONE.read().await;
    let world = story().await;
    for path in ["report.md", "diffs.tar.gz", "targets/1/diff.patch", "events.ndjson"] {
        let get = world.get(path).send().await.unwrap();
        let address = format!("/jobs/{JOB}/{path}");
        let head = world.visit(Method::HEAD, &address).bearer_auth("good").send().await.unwrap();
        for name in ["etag", "content-type", "content-length", "content-disposition"] {
            assert_eq!(header(&head, name), header(&get, name), "{path} {name}");
        }
        assert_eq!(head.status(), StatusCode::OK);
        assert!(head.bytes().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn nobody_reads_without_a_token_and_what_is_not_there_says_so() {
    let _shared = ALONE.read().await;
    let world = story().await;
    let other = JobId(Uuid::from_u128(9));
    let hash = Sha256::of(b"none");
    for (path, status, code) in [
        (format!("/jobs/{JOB}/report.md"), 200, ""),
        (format!("/jobs/{other}/report.md"), 404, "no-such-job"),
        (format!("/jobs/{other}/events.ndjson"), 404, "no-such-job"),
        (format!("/jobs/{JOB}/targets/9/diff.patch"), 404, "no-such-target"),
        (format!("/jobs/{JOB}/targets/9/thread.md"), 404, "no-such-target"),
        (format!("/jobs/{JOB}/targets/2/diff.patch"), 404, "no-diff"),
        (format!("/jobs/{JOB}/targets/1/diff.patch?diff={hash}"), 404, "no-diff"),
        (format!("/jobs/{JOB}/targets/1/thread.json?thread=7"), 404, "no-such-thread"),
        ("/jobs/latest/report.md".to_owned(), 404, "no-such-path"),
        (format!("/jobs/{JOB}/report.md?full=1"), 400, "bad-parameter"),
        (format!("/jobs/{JOB}/events.ndjson?after=-1"), 400, "bad-parameter"),
    ] {
        let stranger = world.visit(Method::GET, &path).send().await.unwrap();
        assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED, "{path}");
        let answer = world.visit(Method::GET, &path).bearer_auth("good").send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path}");
        if status != 200 {
            let no: serde_json::Value = answer.json().await.unwrap();
            assert_eq!(no["code"], code, "{path}");
        }
    }
    let address = format!("/jobs/{JOB}/report.md");
    let posted = world.visit(Method::POST, &address).bearer_auth("good").send().await.unwrap();
    assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_link_is_good_once_for_one_thing_and_for_a_minute() {
    let _shared = ALONE.read().await;
    let world = story().await;
    let status = async |method: Method, path: &str| {
        world.visit(method, path).send().await.unwrap().status().as_u16()
    };
    let report = Download::Report { job: JOB };
    let link = world.links.create(&report, "ada").unwrap();
    let secret = link.split("link=").nth(1).unwrap();
    assert_eq!(secret.len(), 64);
    // Elsewhere it is nothing, and stays good; to ask how large it is does not use it.
    let elsewhere = format!("/jobs/{JOB}/diffs.tar.gz?link={secret}");
    assert_eq!(status(Method::GET, &elsewhere).await, 403);
    let events = format!("/jobs/{JOB}/events.ndjson?after=1&link={secret}");
    assert_eq!(status(Method::GET, &events).await, 403);
    assert_eq!(status(Method::HEAD, &link).await, 200);
    assert_eq!(status(Method::GET, &link).await, 200);
    assert_eq!(status(Method::GET, &link).await, 403);
    assert_eq!(status(Method::HEAD, &link).await, 403);
    let late = world.links.create(&report, "ada").unwrap();
    world.clock.forward(LIFE);
    assert_eq!(status(Method::GET, &late).await, 403);
    let query = Download::Events { job: JOB, after: 2, payloads: false };
    let link = world.links.create(&query, "ada").unwrap();
    assert_eq!(status(Method::GET, &link).await, 200);
    assert_eq!(status(Method::GET, &format!("/jobs/{JOB}/report.md?link=")).await, 403);
}

#[tokio::test]
async fn links_are_not_without_number() {
    let _shared = ALONE.read().await;
    let world = World::new().await;
    let report = Download::Report { job: JOB };
    let mut made = 0;
    while world.links.create(&report, "ada").is_ok() {
        made += 1;
    }
    assert_eq!(made, 500);
    for caller in 1..20 {
        for _ in 0..500 {
            world.links.create(&report, &caller.to_string()).unwrap();
        }
    }
    assert!(world.links.create(&report, "grace").is_err(), "10,000 are all");
    world.clock.forward(LIFE);
    world.links.create(&report, "grace").unwrap();
}

#[tokio::test]
async fn no_name_of_a_repository_gets_out_of_a_header_or_an_archive() {
    let _shared = ALONE.read().await;
    let world = World::new().await;
    let names = ["../../../tmp/x", "a\"; filename=b\r\nx: y", "größe", "-rf", "a/b", "a-b"];
    let diffs = (1..).zip(names).map(|(target, name)| produced(target, &patch(name)));
    let drafts = std::iter::once(created(&names)).chain(diffs).collect();
    world.append("ada", Door::Cli, drafts).await;
    let mut called = Vec::new();
    for target in 1..=6 {
        let download = Download::Patch { job: JOB, target: TargetNumber(target), diff: None };
        let answer = world.visit(Method::GET, &download.path()).bearer_auth("good");
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.headers().get("x"), None);
        called.push(header(&answer, "content-disposition"));
    }
    assert_eq!(
        called,
        [
            "attachment; filename=\"..-..-..-tmp-x.patch\"",
            "attachment; filename=\"a__ filename=b__x_ y.patch\"",
            "attachment; filename=\"gr__e.patch\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.patch",
            "attachment; filename=\"_rf.patch\"",
            "attachment; filename=\"a-b.patch\"",
            "attachment; filename=\"a-b-2.patch\"",
        ]
    );
    let archive = world.get("diffs.tar.gz").send().await.unwrap().bytes().await.unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&archive[..]));
    let entries = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.mtime().unwrap(), header.uid().unwrap()), (0, 0));
        entry.path().unwrap().to_str().unwrap().to_owned()
    });
    assert_eq!(
        entries.collect::<Vec<_>>(),
        [
            "..-..-..-tmp-x.patch",
            "a__ filename=b__x_ y.patch",
            "größe.patch",
            "_rf.patch",
            "a-b.patch",
            "a-b-2.patch",
            "report.md"
        ]
    );
}
