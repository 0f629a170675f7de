//! The result as one HTML file that needs no other.

use std::fmt::Write;

use super::judge::Verdict;
use super::table::{Row, RuleVerdict, Table};

/// The page.
pub(crate) fn page(table: &Table, client: &str) -> String {
    let mut page = String::from(HEAD);
    let [kept, broken, not_applicable] = table.counts();
    let _ = write!(
        page,
        "<h1>SMTP client conformance</h1>\n<p><code>{}</code></p>\n\
         <p>{kept} rules kept, {broken} broken, {not_applicable} not applicable; \
         {} dialogues. ehlo {}</p>\n",
        escaped(client),
        table.played(),
        env!("CARGO_PKG_VERSION"),
    );
    let mut section = "";
    page.push_str("<table>\n<tr><th>Rule</th><th></th><th>What it says</th><th></th></tr>\n");
    for row in &table.rows {
        if row.rule.section != section {
            section = row.rule.section;
            let _ = writeln!(
                page,
                "<tr><th colspan=4 class=section>{}</th></tr>",
                escaped(section)
            );
        }
        write_row(&mut page, row);
    }
    page.push_str("</table>\n<h2>Dialogues in which a rule was broken</h2>\n");
    for run in table.broken() {
        let Verdict::Broken(breaches) = &run.verdict else {
            continue;
        };
        let _ = write!(
            page,
            "<details id=\"{0}\"><summary><code>{0}</code></summary>\n<p>{1}</p>\n<ul>\n",
            escaped(run.name),
            escaped(run.purpose)
        );
        for breach in breaches {
            let _ = writeln!(
                page,
                "<li>{}: {}</li>",
                escaped(&breach.rule),
                escaped(&breach.what)
            );
        }
        page.push_str("</ul>\n<pre>");
        for line in &run.dialogue {
            let _ = writeln!(page, "{}", escaped(line));
        }
        page.push_str("</pre></details>\n");
    }
    page.push_str("</body></html>\n");
    page
}

fn write_row(page: &mut String, row: &Row) {
    let what = match &row.verdict {
        RuleVerdict::Kept(count) => format!("kept in {count}"),
        RuleVerdict::Broken(breaches) => {
            let links = breaches.iter().map(|(transcript, what)| {
                let name = escaped(transcript);
                format!("<a href=\"#{name}\">{name}</a>: {}", escaped(what))
            });
            format!("broken<br>{}", links.collect::<Vec<_>>().join("<br>"))
        }
        RuleVerdict::NotApplicable(reason) => format!("not applicable: {}", escaped(reason)),
    };
    let _ = writeln!(
        page,
        "<tr class={}><td>{}</td><td>{}</td><td>{}</td><td>{what}</td></tr>",
        row.verdict.word(),
        row.rule.id,
        row.rule.level,
        escaped(row.rule.text).replace('`', ""),
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

const HEAD: &str = "\
<!DOCTYPE html>
<html lang=en><head><meta charset=utf-8>
<meta name=viewport content=\"width=device-width\">
<title>SMTP client conformance</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; }
table { border-collapse: collapse; width: 100%; }
td, th { border-bottom: 1px solid #ddd; padding: .3em .6em; text-align: left; vertical-align: top; }
td:first-child { white-space: nowrap; }
.section { padding-top: 1em; }
.kept td:last-child { color: #17702b; }
.broken td:last-child { color: #a8071a; font-weight: 600; }
.not-applicable { color: #777; }
pre { background: #f6f6f6; overflow-x: auto; padding: .8em; }
</style></head><body>
";
