// Searches a built book as its pages do: prints the pages found for each of the given words, as JSON.
const fs = require('fs');
const path = require('path');
const vm = require('vm');

const [book, ...searches] = process.argv.slice(2);
const page = vm.createContext({ window: { search: {} } });
// In the order in which a page loads them. search.js is in the Chinese book only.
for (const name of [/^elasticlunr-.*\.js$/, /^search-.*\.js$/, /^searchindex-.*\.js$/]) {
    for (const file of fs.readdirSync(book).filter((file) => name.test(file))) {
        vm.runInContext(fs.readFileSync(path.join(book, file), 'utf8'), page, { filename: file });
    }
}
const { doc_urls, index, results_options, search_options } = page.window.search;
const loaded = page.elasticlunr.Index.load(index);
const found = searches.map((words) => loaded
    .search(words, search_options)
    .slice(0, results_options.limit_results)
    .map((result) => doc_urls[result.ref]));
console.log(JSON.stringify(found));
