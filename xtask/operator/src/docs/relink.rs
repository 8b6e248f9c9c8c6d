//! Finds and replaces the links of a page.

use pulldown_cmark::{Event, Options, Parser, Tag};

/// Returns the destinations of the links of a page.
pub(super) fn destinations(text: &str) -> Vec<String> {
    links(text).map(|(link, _)| link).collect()
}

/// Replaces the links for which `change` returns another one.
pub(super) fn relinked(text: &str, mut change: impl FnMut(&str) -> Option<String>) -> String {
    let mut changed = String::with_capacity(text.len());
    let mut done = 0;
    let mut events: Vec<_> = links(text).collect();
    // A picture within a link ends first.
    events.sort_by_key(|(_, end)| *end);
    for (link, end) in events {
        let Some(start) = text[done..end].rfind(&format!("]({link}")) else {
            continue;
        };
        let start = done + start + "](".len();
        if let Some(other) = change(&link) {
            changed.push_str(&text[done..start]);
            changed.push_str(&other);
            done = start + link.len();
        }
    }
    changed.push_str(&text[done..]);
    changed
}

/// Returns each link or picture, and the position of its end.
fn links(text: &str) -> impl Iterator<Item = (String, usize)> {
    let events = Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter();
    events.filter_map(|(event, range)| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
            Some((dest_url.into_string(), range.end))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_changed_and_nothing_else_is() {
        let text = "[a](b.md) and `[a](b.md)`, ![p](p.svg)\n\n| [a](b.md#c) |\n|---|\n| [![p](p.svg)](d) |\n\n[e](https://e)\n";
        let changed = relinked(text, |link| match link.contains("://") {
            true => None,
            false => Some(format!("x/{link}")),
        });
        assert_eq!(
            changed,
            "[a](x/b.md) and `[a](b.md)`, ![p](x/p.svg)\n\n| [a](x/b.md#c) |\n|---|\n| [![p](x/p.svg)](x/d) |\n\n[e](https://e)\n"
        );
        assert_eq!(destinations(text).len(), 6);
    }
}
