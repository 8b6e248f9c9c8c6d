//! Lists in messages.

/// Returns the first names, and how many more there are.
pub(in crate::core) fn listed<'a>(names: impl IntoIterator<Item = &'a str>, most: usize) -> String {
    let mut names = names.into_iter();
    let named = names.by_ref().take(most).collect::<Vec<_>>().join(", ");
    match names.count() {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
