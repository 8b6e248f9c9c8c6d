// mdBook's search, elasticlunr, splits texts at spaces, which Chinese has none of. So Chinese words are
// looked for in the texts as they are.
const search = elasticlunr.Index.prototype.search;
elasticlunr.Index.prototype.search = function (query, options) {
    if (!/\p{Script=Han}/u.test(query)) {
        return search.call(this, query, options);
    }
    const words = query.toLowerCase().split(/\s+/).filter((word) => word !== '');
    const holds = (text) => words.every((word) => text.toLowerCase().includes(word));
    const found = Object.values(this.documentStore.docs)
        .filter((doc) => holds(doc.title + ' ' + doc.body))
        .map((doc) => ({ ref: doc.id, doc, score: holds(doc.title) ? 2 : 1 }));
    return found.sort((one, other) => other.score - one.score);
};
