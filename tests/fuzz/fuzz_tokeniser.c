/* fuzz_tokeniser.c - any bytes as tokenizer.json, and any bytes as text.
 *
 * What is before the first NUL is read as a file; the text after it, and the file itself, are
 * encoded by what was read and by a tokeniser of bytes. Spans stay inside the text and in order,
 * what was written reads back to the same, and where every byte is a token and nothing normalises
 * the text comes back.
 */
#include <stdlib.h>

#include <mete/tokeniser.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(int condition)
{
    if (!condition)
        abort();
}

static void
encode(const mete_tokeniser *t, mete_text text, int exact)
{
    mete_tokens tokens = {0};
    mete_buffer back = {0};
    for (unsigned flags = 0; flags < 4; flags++) {
        tokens.count = back.length = 0;
        require(mete_tokeniser_encode(t, text, flags, &tokens, NULL) == METE_OK);
        for (size_t i = 0; i < tokens.count; i++) {
            require(tokens.start[i] <= tokens.end[i] && tokens.end[i] <= text.length);
            require(!i || tokens.start[i] >= tokens.start[i - 1]);
        }
        require(mete_tokeniser_decode(t, tokens.id, tokens.count, 0, &back, NULL) == METE_OK);
        if (exact)
            require(mete_text_equal(mete_buffer_view(&back), text));
    }
    mete_tokens_free(&tokens);
    mete_buffer_free(&back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const special[] = {"<end>", "\n\n"};
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    mete_text all = {(const char *)data, size};
    mete_text file = {all.data, nul ? (size_t)(nul - data) : size};
    mete_text text = mete_text_slice(all, file.length + 1, size);
    mete_tokeniser *bytes = mete_tokeniser_bytes(special, 2, NULL);
    mete_tokeniser *read = mete_tokeniser_read(file, NULL);
    encode(bytes, all, 1);
    if (read) {
        mete_buffer once = {0}, twice = {0};
        encode(read, text, 0);
        encode(read, file, 0);
        require(mete_tokeniser_write(read, &once) == METE_OK);
        mete_tokeniser *again = mete_tokeniser_read(mete_buffer_view(&once), NULL);
        require(again != NULL && mete_tokeniser_size(again) == mete_tokeniser_size(read));
        require(mete_tokeniser_write(again, &twice) == METE_OK);
        require(mete_text_equal(mete_buffer_view(&once), mete_buffer_view(&twice)));
        mete_tokeniser_free(again);
        mete_buffer_free(&once);
        mete_buffer_free(&twice);
    }
    mete_tokeniser_free(read);
    mete_tokeniser_free(bytes);
    return 0;
}
