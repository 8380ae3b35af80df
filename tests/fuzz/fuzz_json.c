/* fuzz_json.c - any bytes as JSON: no crash, and the parsers agree with each other.
 *
 * What the checker accepts the tree parser accepts, and the record parser too when it is an object;
 * what is written of a tree reads back and is written the same.
 */
#include <stdlib.h>

#include "text/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(int condition)
{
    if (!condition)
        abort();
}

static void
record(mete_text text, const mete_json *root)
{
    static mete__record reused;
    mete__field field;
    mete_buffer decoded = {0};
    int status = mete__record_parse(&reused, text.data, text.length, NULL);
    require((status == METE_OK) == (mete_json_kind(root) == METE_JSON_OBJECT));
    if (status == METE_OK) {
        const mete_json *member = mete_json_first(root);
        require(reused.fields == mete_json_count(root));
        for (size_t i = 0; i < reused.fields; i++, member = mete_json_next(member)) {
            require(mete_text_equal(reused.field[i].key, mete_json_key(member)));
            require(reused.field[i].type == mete_json_kind(member));
            if (reused.field[i].type == METE_JSON_STRING)
                require(mete_text_equal(reused.field[i].text, mete_json_text(member)));
            if (reused.field[i].type == METE_JSON_NUMBER)
                require(reused.field[i].number == mete_json_number(member));
        }
        /* The text is its own path: long, odd, and mostly not there. */
        require(mete__record_path(&reused, text, &field, &decoded) >= 0);
        require(mete__record_path(&reused, mete_text_from("a.b.0"), &field, &decoded) >= 0);
    }
    mete_buffer_free(&decoded);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mete_text text = {(const char *)data, size};
    mete_buffer once = {0}, twice = {0};
    mete_json *root = mete_json_parse(text, NULL);
    require((root != NULL) == (mete__json_check(text, NULL) == METE_OK));
    record(text, root);
    if (root) {
        require(mete_json_put(&once, root) == METE_OK);
        mete_json *again = mete_json_parse(mete_buffer_view(&once), NULL);
        require(again != NULL);
        require(mete_json_put(&twice, again) == METE_OK);
        require(mete_text_equal(mete_buffer_view(&once), mete_buffer_view(&twice)));
        mete_json_free(again);
    }
    mete_buffer_clear(&once);
    require(mete_json_put_text(&once, text) == METE_OK);
    /* A string may hold what JSON may not: NUL, which the strict parser refuses. */
    if (size == 0 || !memchr(data, 0, size))
        require(mete__json_check(mete_buffer_view(&once), NULL) == METE_OK);
    mete_json_free(root);
    mete_buffer_free(&once);
    mete_buffer_free(&twice);
    return 0;
}
