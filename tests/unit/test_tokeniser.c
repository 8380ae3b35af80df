/* test_tokeniser.c - tokens as the reference implementation gives them (tests/data/tokeniser), any
 * bytes there and back, what a tokenizer.json may not say, and texts made to be slow.
 */
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>

#include <mete/random.h>
#include "text/token.h"

static const char *const names[] = {"gpt2", "llama3",    "qwen2", "flags",
                                    "unk",  "unk_fused", "words"};

static mete_tokeniser *
open_named(const char *name)
{
    char path[1024];
    mete_error err = {0};
    snprintf(path, sizeof path, "%s/tests/data/tokeniser/%s.json", getenv("METE_SRCDIR"), name);
    mete_tokeniser *t = mete_tokeniser_open(path, &err);
    if (!t)
        printf("%s\n", err.message);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t);
    return t;
}

/* ---- the reference's vectors ----------------------------------------------------------------- */

static mete_text
unhex(mete_text hex, char *to)
{
    for (size_t i = 0; i + 1 < hex.length; i += 2) {
        unsigned byte = 0;
        sscanf(hex.data + i, "%2x", &byte);
        to[i / 2] = (char)byte;
    }
    return (mete_text){to, hex.length / 2};
}

static int
same_ids(const mete_tokens *tokens, const mete_json *list)
{
    size_t i = 0;
    for (const mete_json *at = mete_json_first(list); at; at = mete_json_next(at), i++)
        if (i >= tokens->count || tokens->id[i] != (int32_t)mete_json_number(at))
            return 0;
    return i == tokens->count;
}

/* Replaces what is not UTF-8 by U+FFFD, one for each longest beginning of a character (Unicode
 * Standard, section 3.9, "U+FFFD substitution of maximal subparts"). */
static void
replace_bad(mete_text text, mete_buffer *out)
{
    for (size_t at = 0; at < text.length;) {
        size_t good = mete_utf8_check(mete_text_slice(text, at, text.length));
        mete_buffer_append(out, text.data + at, good);
        at += good;
        if (at == text.length)
            return;
        unsigned char lead = (unsigned char)text.data[at++];
        unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        int more = lead >= 0xc2 && lead <= 0xdf   ? 1
                   : lead >= 0xe0 && lead <= 0xef ? 2
                   : lead >= 0xf0 && lead <= 0xf4 ? 3
                                                  : 0;
        for (; more > 0 && at < text.length; more--, at++, low = 0x80, high = 0xbf)
            if ((unsigned char)text.data[at] < low || (unsigned char)text.data[at] > high)
                break;
        mete_buffer_code(out, 0xfffd);
    }
}

/* Spans are in order and inside the text. */
static int
spans_hold(const mete_tokens *tokens, mete_text text)
{
    for (size_t i = 0; i < tokens->count; i++)
        if (tokens->start[i] > tokens->end[i] || tokens->end[i] > text.length ||
            (i && tokens->start[i] < tokens->start[i - 1]))
            return 0;
    return 1;
}

static void
check_row(const mete_tokeniser *t, const mete_json *row, mete_tokens *tokens)
{
    const mete_json *ids = mete_json_get(row, "ids"), *plain = mete_json_get(row, "plain");
    const mete_json *template = mete_json_get(row, "template");
    mete_text hex = mete_json_text(mete_json_get(row, "hex"));
    mete_text wanted = mete_json_text(mete_json_get(row, "decoded"));
    char *bytes = malloc(hex.length + wanted.length + 1);
    mete_text text = unhex(hex, bytes);
    mete_buffer decoded = {0}, shown = {0};
    tokens->count = 0;
    CU_ASSERT_EQUAL(mete_tokeniser_encode(t, text, METE_ENCODE_SPECIALS, tokens, NULL), METE_OK);
    CU_ASSERT(same_ids(tokens, ids));
    CU_ASSERT(spans_hold(tokens, text));
    if (tokens->count > 1)
        CU_ASSERT_EQUAL(mete_tokeniser_decode(t, tokens->id + 1, tokens->count - 2,
                                              METE_DECODE_SKIP_SPECIALS, &decoded, NULL),
                        METE_OK);
    replace_bad(mete_buffer_view(&decoded), &shown);
    CU_ASSERT(mete_text_equal(mete_buffer_view(&shown), unhex(wanted, bytes + text.length)));
    tokens->count = 0;
    CU_ASSERT_EQUAL(
        mete_tokeniser_encode(t, text, METE_ENCODE_SPECIALS | METE_ENCODE_TEMPLATE, tokens, NULL),
        METE_OK);
    CU_ASSERT(same_ids(tokens, template ? template : ids));
    tokens->count = 0;
    CU_ASSERT_EQUAL(mete_tokeniser_encode(t, text, 0, tokens, NULL), METE_OK);
    CU_ASSERT(same_ids(tokens, plain ? plain : ids));
    mete_buffer_free(&decoded);
    mete_buffer_free(&shown);
    free(bytes);
}

/* Every row of every file, with one mete_tokens for all: a cache must not outlive its tokeniser. */
static void
vectors(void)
{
    mete_tokens tokens = {0};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char path[1024], *line = NULL;
        size_t room = 0, rows = 0;
        ssize_t length;
        mete_tokeniser *t = open_named(names[k]);
        snprintf(path, sizeof path, "%s/tests/data/tokeniser/%s.jsonl", getenv("METE_SRCDIR"),
                 names[k]);
        FILE *file = fopen(path, "r");
        CU_ASSERT_PTR_NOT_NULL_FATAL(file);
        while ((length = getline(&line, &room, file)) > 0) {
            mete_json *row = mete_json_parse((mete_text){line, (size_t)length - 1}, NULL);
            CU_ASSERT_PTR_NOT_NULL_FATAL(row);
            check_row(t, row, &tokens);
            mete_json_free(row);
            rows++;
        }
        CU_ASSERT_EQUAL(rows, 60);
        fclose(file);
        free(line);
        mete_tokeniser_free(t);
    }
    mete_tokens_free(&tokens);
}

/* What is written reads back to the same tokeniser: it writes the same and encodes the same. */
static void
written(void)
{
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        mete_buffer once = {0}, twice = {0};
        mete_error err = {0};
        mete_tokeniser *t = open_named(names[k]);
        CU_ASSERT_EQUAL(mete_tokeniser_write(t, &once), METE_OK);
        mete_tokeniser *again = mete_tokeniser_read(mete_buffer_view(&once), &err);
        CU_ASSERT_PTR_NOT_NULL_FATAL(again);
        CU_ASSERT_EQUAL(mete_tokeniser_write(again, &twice), METE_OK);
        CU_ASSERT(mete_text_equal(mete_buffer_view(&once), mete_buffer_view(&twice)));
        mete_tokens a = {0}, b = {0};
        mete_text text = mete_buffer_view(&once); /* as good a text as any */
        mete_tokeniser_encode(t, text, 3, &a, NULL);
        mete_tokeniser_encode(again, text, 3, &b, NULL);
        CU_ASSERT(a.count > 1000 && a.count == b.count &&
                  memcmp(a.id, b.id, a.count * sizeof *a.id) == 0);
        mete_tokens_free(&a);
        mete_tokens_free(&b);
        mete_tokeniser_free(again);
        mete_tokeniser_free(t);
        mete_buffer_free(&once);
        mete_buffer_free(&twice);
    }
}

/* ---- any bytes there and back ---------------------------------------------------------------- */

/* Random bytes, of which many are no UTF-8, with spaces and letters among them. */
static void
random_bytes(uint64_t seed, char *to, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        uint64_t r = mete_hash_mix(seed, i);
        to[i] = (char)(r % 3 == 0 ? (uint64_t) "  ea\nT'sz."[r / 3 % 10] : r >> 40);
    }
}

static void
round_trip(const mete_tokeniser *t, mete_text text, mete_tokens *tokens)
{
    mete_buffer back = {0};
    tokens->count = 0;
    CU_ASSERT_EQUAL(mete_tokeniser_encode(t, text, METE_ENCODE_SPECIALS, tokens, NULL), METE_OK);
    for (size_t i = 0; i < tokens->count; i++) {
        mete_text token = mete_tokeniser_token(t, tokens->id[i]);
        /* Spans tile the text, and hold what the token stands for. */
        CU_ASSERT_FATAL(tokens->start[i] == (i ? tokens->end[i - 1] : 0));
        CU_ASSERT_FATAL(
            mete_text_equal(token, mete_text_slice(text, tokens->start[i], tokens->end[i])));
    }
    CU_ASSERT(text.length == (tokens->count ? tokens->end[tokens->count - 1] : 0));
    CU_ASSERT_EQUAL(mete_tokeniser_decode(t, tokens->id, tokens->count, 0, &back, NULL), METE_OK);
    CU_ASSERT(mete_text_equal(text, mete_buffer_view(&back)));
    mete_buffer_free(&back);
}

static void
any_bytes(void)
{
    const char *const special[] = {"<end>", "a b"};
    mete_tokeniser *t[3] = {open_named("gpt2"), open_named("llama3"),
                            mete_tokeniser_bytes(special, 2, NULL)};
    mete_tokens tokens = {0};
    char text[400];
    for (size_t k = 0; k < 3; k++) {
        round_trip(t[k], (mete_text){NULL, 0}, &tokens);
        for (uint64_t seed = 0; seed < 500; seed++) {
            size_t length = 1 + mete_hash_mix(seed, 1) % sizeof text;
            random_bytes(seed, text, length);
            round_trip(t[k], (mete_text){text, length}, &tokens);
        }
        for (int b = 0; b < 256; b++) { /* each byte between letters */
            text[0] = 'x';
            text[1] = (char)b;
            text[2] = 'y';
            round_trip(t[k], (mete_text){text, 3}, &tokens);
        }
    }
    mete_tokens_free(&tokens);
    for (size_t k = 0; k < 3; k++)
        mete_tokeniser_free(t[k]);
}

static void
bytes_kind(void)
{
    const char *const special[] = {"<end>"};
    mete_tokeniser *t = mete_tokeniser_bytes(special, 1, NULL);
    mete_tokens tokens = {0};
    CU_ASSERT_EQUAL(mete_tokeniser_size(t), 257);
    CU_ASSERT_EQUAL(mete_tokeniser_special(t, mete_text_from("<end>")), 256);
    CU_ASSERT_EQUAL(mete_tokeniser_special(t, mete_text_from("a")), -1);
    CU_ASSERT(mete_tokeniser_is_special(t, 256) && !mete_tokeniser_is_special(t, 255) &&
              !mete_tokeniser_is_special(t, -1) && !mete_tokeniser_is_special(t, 257));
    mete_tokeniser_encode(t, mete_text_from("\xff<end>a"), METE_ENCODE_SPECIALS, &tokens, NULL);
    CU_ASSERT(tokens.count == 3 && tokens.id[0] == 255 && tokens.id[1] == 256 &&
              tokens.id[2] == 'a');
    /* Appended, and as plain text: what a user writes is no special. */
    mete_tokeniser_encode(t, mete_text_from("<end>"), 0, &tokens, NULL);
    CU_ASSERT(tokens.count == 8 && tokens.id[3] == '<' && tokens.id[7] == '>' &&
              tokens.start[3] == 0 && tokens.end[7] == 5);
    int32_t none[] = {65, 257};
    mete_buffer out = {0};
    mete_error err = {0};
    CU_ASSERT_EQUAL(mete_tokeniser_decode(t, none, 2, 0, &out, &err), METE_EDATA);
    CU_ASSERT(out.length == 0 && strstr(err.message, "257"));
    mete_buffer_free(&out);
    mete_tokens_free(&tokens);
    mete_tokeniser_free(t);
}

/* ---- what is refused ------------------------------------------------------------------------- */

#define MODEL(vocab, merges)                                                                       \
    "{\"type\":\"BPE\",\"unk_token\":\"a\",\"vocab\":" vocab ",\"merges\":" merges "}"
#define LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"
#define FILE_OF(model, more) "{\"model\":" model ",\"pre_tokenizer\":" LEVEL more "}"
#define GOOD MODEL("{\"a\":0,\"b\":1,\"ab\":2}", "[\"a b\"]")

static const struct {
    const char *json, *says;
    int code;
} refused[] = {
    {"", "", METE_EDATA},
    {"[]", "the document", METE_EDATA},
    {"{}", "model", METE_EDATA},
    {"{\"model\":{\"type\":\"WordPiece\"}}", "model.type", METE_ENOTSUP},
    {"{\"model\":{\"type\":\"BPE\"}}", "model.vocab", METE_EDATA},
    {FILE_OF(MODEL("{\"a\":0}", "3"), ""), "model.merges", METE_EDATA},
    {FILE_OF(MODEL("{\"a\":0,\"b\":0}", "[]"), ""), "both have number 0", METE_EDATA},
    {FILE_OF(MODEL("{\"a\":0,\"a\":1}", "[]"), ""), "a", METE_EDATA},
    {FILE_OF(MODEL("{\"a\":-1}", "[]"), ""), "from 0 to", METE_EDATA},
    {FILE_OF(MODEL("{\"a\":1e9}", "[]"), ""), "from 0 to", METE_EDATA},
    {FILE_OF(MODEL("{\"a\":70000}", "[]"), ""), "has number 70000", METE_EDATA},
    {FILE_OF(MODEL("{\"a\":0.5}", "[]"), ""), "from 0 to", METE_EDATA},
    {FILE_OF(MODEL("{\"a\":\"0\"}", "[]"), ""), "from 0 to", METE_EDATA},
    {FILE_OF(MODEL("{\"a\":0,\"b\":1}", "[\"a b\"]"), ""), "merge 1", METE_EDATA},
    {FILE_OF(MODEL("{\"a\":0,\"ab\":1}", "[\"a b\"]"), ""), "\"b\" is not", METE_EDATA},
    {FILE_OF(MODEL("{\"a\":0,\"b\":1,\"ab\":2}", "[\"a  b\"]"), ""), "merge 1", METE_EDATA},
    {FILE_OF(MODEL("{\"a\":0,\"b\":1,\"ab\":2}", "[[\"a\"]]"), ""), "merge 1", METE_EDATA},
    {FILE_OF(MODEL("{\"a\":0,\"b\":1,\"ab\":2}", "[\"a b\",[\"a\",\"b\",\"c\"]]"), ""), "merge 2",
     METE_EDATA},
    {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},\"pre_tokenizer\":" LEVEL "}",
     "no token for byte 0x00", METE_ENOTSUP},
    {FILE_OF("{\"type\":\"BPE\",\"dropout\":0.1,\"vocab\":{\"a\":0},\"merges\":[]}", ""),
     "model.dropout", METE_ENOTSUP},
    {FILE_OF("{\"type\":\"BPE\",\"end_of_word_suffix\":\"</w>\",\"vocab\":{},\"merges\":[]}", ""),
     "end_of_word_suffix", METE_ENOTSUP},
    {FILE_OF("{\"type\":\"BPE\",\"unk_token\":\"?\",\"vocab\":{},\"merges\":[]}", ""),
     "model.unk_token", METE_EDATA},
    {FILE_OF("{\"type\":\"BPE\",\"byte_fallback\":true,\"unk_token\":\"a\",\"vocab\":{\"a\":0},"
             "\"merges\":[]}",
             ""),
     "byte_fallback", METE_ENOTSUP},
    {FILE_OF(GOOD, ",\"added_tokens\":[{\"id\":2,\"content\":\"<s>\"}]"), "both have number 2",
     METE_EDATA},
    {FILE_OF(GOOD, ",\"added_tokens\":[{\"id\":9,\"content\":\"ab\"}]"), "the vocabulary says 2",
     METE_EDATA},
    {FILE_OF(GOOD,
             ",\"added_tokens\":[{\"id\":9,\"content\":\"s\"},{\"id\":10,\"content\":\"s\"}]"),
     "twice", METE_EDATA},
    {FILE_OF(GOOD, ",\"added_tokens\":[{\"id\":9,\"content\":\"\"}]"), "0 bytes", METE_EDATA},
    {FILE_OF(GOOD, ",\"added_tokens\":[{\"content\":\"s\"}]"), "id of added_tokens", METE_EDATA},
    {FILE_OF(GOOD, ",\"added_tokens\":[{\"id\":9,\"content\":\"s\",\"lstrip\":1}]"), "lstrip",
     METE_EDATA},
    {FILE_OF(GOOD, ",\"normalizer\":{\"type\":\"NFKC\"}"), "normalizer", METE_ENOTSUP},
    {FILE_OF(GOOD, ",\"post_processor\":{\"type\":\"BertProcessing\"}"), "post_processor",
     METE_ENOTSUP},
    {FILE_OF(GOOD, ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}"),
     "Sequence A", METE_EDATA},
    {FILE_OF(GOOD, ",\"decoder\":{\"type\":\"ByteFallback\"}"), "decoder", METE_ENOTSUP},
    {"{\"model\":" GOOD "}", "pre_tokenizer", METE_ENOTSUP},
    {"{\"model\":" GOOD ",\"pre_tokenizer\":{\"type\":\"Whitespace\"}}", "pre_tokenizer",
     METE_ENOTSUP},
    {"{\"model\":" GOOD ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a+)+b\"},"
     "\"behavior\":\"Isolated\"}}",
     "patterns", METE_ENOTSUP},
    {"{\"model\":" GOOD ",\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[" LEVEL
     "," LEVEL "]}}",
     "after ByteLevel", METE_ENOTSUP},
};

static void
bad_files(void)
{
    mete_error err = {0};
    mete_tokeniser *good = mete_tokeniser_read(mete_text_from(FILE_OF(GOOD, "")), &err);
    CU_ASSERT_PTR_NOT_NULL(good); /* what the others are made from */
    mete_tokeniser_free(good);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        memset(&err, 0, sizeof err);
        mete_tokeniser *t = mete_tokeniser_read(mete_text_from(refused[i].json), &err);
        if (t || err.code != refused[i].code || !strstr(err.message, refused[i].says))
            printf("\n%s\n  gives %d: %s", refused[i].json, err.code, err.message);
        CU_ASSERT_PTR_NULL(t);
        CU_ASSERT_EQUAL(err.code, refused[i].code);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.message, refused[i].says));
        mete_tokeniser_free(t);
    }
    CU_ASSERT_PTR_NULL(mete_tokeniser_open("/nowhere/tokenizer.json", &err));
    CU_ASSERT_EQUAL(err.code, METE_EIO);
}

/* ---- pieces ---------------------------------------------------------------------------------- */

/* What is found without the matcher is what the matcher finds: a tokeniser that takes every byte
 * for one that is not ASCII cuts the same. */
static void
ascii_pieces(void)
{
    static const char letters[] = "abzSTMDREVLstmdrevl019''''    \n\n\r\t\v\x1c.,-(<\x7f";
    mete__matcher matcher = {0};
    CU_ASSERT_EQUAL_FATAL(mete__matcher_open(&matcher, NULL), METE_OK);
    for (size_t k = 0; k < 3; k++) {
        mete_tokeniser *t = open_named(names[k]), *slow = open_named(names[k]);
        mete_split split = t->step[0].split;
        memset(slow->kind, slow->kind[0x80], sizeof slow->kind);
        for (uint64_t seed = 0; seed < 3000; seed++) {
            mete_buffer text = {0};
            for (uint64_t i = 0; i <= mete_hash_mix(seed, 0) % 40; i++) {
                uint64_t r = mete_hash_mix(seed, i + 1);
                if (r % 16)
                    mete_buffer_byte(&text, letters[(r >> 8) % (sizeof letters - 1)]);
                else
                    mete_buffer_code(&text, (r >> 8 & 1) ? 0x17f : (r >> 8 & 2) ? 0x3000 : 0xe9);
            }
            mete_text all = mete_buffer_view(&text);
            for (size_t at = 0; at < all.length;) {
                size_t end = mete__split_next(t, &matcher, split, all, at, NULL);
                CU_ASSERT_EQUAL_FATAL(end, mete__split_next(slow, &matcher, split, all, at, NULL));
                at = end;
            }
            mete_buffer_free(&text);
        }
        mete_tokeniser_free(t);
        mete_tokeniser_free(slow);
    }
    mete__matcher_close(&matcher);
}

/* ---- texts made to be slow ------------------------------------------------------------------- */

/* Of 2^20 letters a, with merges a a -> aa -> aaaa ... up to 2^k, the leftmost-first rule leaves
 * 2^(20-k) tokens of 2^k each. What is quadratic in the piece does not end. */
static void
long_pieces(void)
{
    mete_buffer json = {0};
    char all[65], *text = malloc(1 << 20);
    memset(all, 'a', sizeof all);
    memset(text, 'a', 1 << 20);
    mete_buffer_string(&json, "{\"pre_tokenizer\":" LEVEL ",\"model\":{\"type\":\"BPE\","
                              "\"unk_token\":\"a\",\"vocab\":{\"a\":0");
    for (int k = 1; k <= 6; k++)
        mete_buffer_format(&json, ",\"%.*s\":%d", 1 << k, all, k);
    mete_buffer_string(&json, "},\"merges\":[\"a a\"");
    for (int k = 1; k < 6; k++)
        mete_buffer_format(&json, ",\"%.*s %.*s\"", 1 << k, all, 1 << k, all);
    mete_buffer_string(&json, "]}}");
    mete_tokeniser *t = mete_tokeniser_read(mete_buffer_view(&json), NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t);
    mete_tokens tokens = {0};
    CU_ASSERT_EQUAL(mete_tokeniser_encode(t, (mete_text){text, 1 << 20}, 0, &tokens, NULL),
                    METE_OK);
    CU_ASSERT_EQUAL(tokens.count, 1 << 14);
    for (size_t i = 0; i < tokens.count; i++)
        CU_ASSERT_FATAL(tokens.id[i] == 6 && tokens.start[i] == 64 * i);
    /* An odd rest: 2^20 - 1 = 63 more after the last whole one, so one token of each size. */
    tokens.count = 0;
    mete_tokeniser_encode(t, (mete_text){text, (1 << 20) - 1}, 0, &tokens, NULL);
    CU_ASSERT_EQUAL(tokens.count, (1 << 14) - 1 + 6);
    mete_tokens_free(&tokens);
    mete_tokeniser_free(t);
    mete_buffer_free(&json);
    free(text);
}

/* Runs of spaces, line ends, marks and combining marks, through every pattern and NFC. */
static void
long_runs(void)
{
    static const char *const unit[] = {
        " ",    "\n",           " \n", "!",        "'s", "1", "\xcc\x81", "\xcc\xa3\xcc\x81",
        "\xff", "\xe3\x80\x80", "<|",  "e\xcc\x81"};
    mete_tokens tokens = {0};
    for (size_t k = 0; k < 4; k++) {
        mete_tokeniser *t = open_named(names[k]);
        for (size_t u = 0; u < sizeof unit / sizeof *unit; u++) {
            mete_buffer text = {0}, back = {0};
            while (text.length < 200000)
                mete_buffer_string(&text, unit[u]);
            tokens.count = 0;
            CU_ASSERT_EQUAL(mete_tokeniser_encode(t, mete_buffer_view(&text), 0, &tokens, NULL),
                            METE_OK);
            mete_tokeniser_decode(t, tokens.id, tokens.count, 0, &back, NULL);
            if (k < 2) /* the others normalise */
                CU_ASSERT(mete_text_equal(mete_buffer_view(&text), mete_buffer_view(&back)));
            CU_ASSERT_EQUAL(tokens.end[tokens.count - 1], text.length);
            mete_buffer_free(&text);
            mete_buffer_free(&back);
        }
        mete_tokeniser_free(t);
    }
    mete_tokens_free(&tokens);
}

/* ---- training -------------------------------------------------------------------------------- */

#define WORDS 12

/* Algorithm 1 of Sennrich et al. on words of single letters, counted anew at every step. Tokens are
 * numbers: 0 to 25 the letters, then what was made. Returns the number of merges. */
static size_t
train_plainly(char word[WORDS][24], size_t words, size_t most, int (*merge)[2])
{
    int token[WORDS][24], length[WORDS];
    size_t merges = 0;
    for (size_t w = 0; w < words; w++) {
        length[w] = (int)strlen(word[w]);
        for (int i = 0; i < length[w]; i++)
            token[w][i] = word[w][i] - 'a';
    }
    for (; merges < most; merges++) {
        static int count[64][64];
        int left = -1, right = -1, best = 0;
        memset(count, 0, sizeof count);
        for (size_t w = 0; w < words; w++)
            for (int i = 1; i < length[w]; i++)
                count[token[w][i - 1]][token[w][i]]++;
        for (int a = 0; a < 64; a++)
            for (int b = 0; b < 64; b++)
                if (count[a][b] > best)
                    best = count[left = a][right = b];
        if (!best)
            break;
        merge[merges][0] = left;
        merge[merges][1] = right;
        for (size_t w = 0; w < words; w++) {
            int to = 0;
            for (int i = 0; i < length[w]; to++)
                if (i + 1 < length[w] && token[w][i] == left && token[w][i + 1] == right) {
                    token[w][to] = 26 + (int)merges;
                    i += 2;
                } else {
                    token[w][to] = token[w][i++];
                }
            length[w] = to;
        }
    }
    return merges;
}

/* On words in which no letter is next to itself pairs cannot overlap, so the plain algorithm leaves
 * nothing open: the trainer makes its merges one by one. */
static void
trained(void)
{
    mete_token_plan plan = {.size = sizeof plan, .split = METE_SPLIT_GPT2};
    for (uint64_t seed = 0; seed < 60; seed++) {
        char word[WORDS][24], text[WORDS * 25 + 1];
        int merge[20][2];
        size_t at = 0;
        for (size_t w = 0; w < WORDS; w++) {
            size_t length = 1 + mete_hash_mix(seed, w) % 23;
            for (size_t i = 0; i < length; i++) {
                uint64_t r = mete_hash_mix(mete_hash_mix(seed, 99 + w), i);
                word[w][i] = (char)('a' + r % 5);
                if (i && word[w][i] == word[w][i - 1])
                    word[w][i] = (char)('f' + r / 5 % 3 + 4 * (i & 1));
            }
            word[w][length] = '\0';
            at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", w ? "\n" : "", word[w]);
        }
        size_t merges = train_plainly(word, WORDS, 20, merge);
        plan.vocabulary = 256 + merges;
        mete_text all = {text, at};
        mete_tokeniser *t = mete_tokeniser_train(&all, 1, &plan, NULL);
        CU_ASSERT_PTR_NOT_NULL_FATAL(t);
        char made[46][64];
        size_t next = 256;
        for (int c = 0; c < 26; c++)
            snprintf(made[c], sizeof made[c], "%c", 'a' + c);
        for (size_t m = 0; m < merges; m++) {
            int same = 0;
            snprintf(made[26 + m], sizeof made[0], "%.31s%.31s", made[merge[m][0]],
                     made[merge[m][1]]);
            for (size_t k = 26; k < 26 + m; k++)
                same |= strcmp(made[k], made[26 + m]) == 0;
            if (same)
                break; /* a token made twice gets one number: the plain algorithm has two */
            CU_ASSERT(mete_text_is(mete_tokeniser_token(t, (int32_t)next++), made[26 + m]));
        }
        mete_tokeniser_free(t);
    }
}

/* Reads back as it was made, takes specials first, refuses what it cannot make. */
static void
train_edges(void)
{
    const char *const special[] = {"<|end|>", "a", "a"};
    mete_token_plan plan = {.size = sizeof plan,
                            .split = METE_SPLIT_LLAMA3,
                            .vocabulary = 300,
                            .special = special,
                            .specials = 2};
    mete_text text[2] = {mete_text_from("the cat the hat"), mete_text_from("\xff the \xfe that")};
    mete_error err = {0};
    mete_buffer out = {0};
    mete_tokeniser *t = mete_tokeniser_train(text, 2, &plan, &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t);
    CU_ASSERT_EQUAL(mete_tokeniser_special(t, mete_text_from("<|end|>")), 0);
    CU_ASSERT(mete_tokeniser_size(t) > 257 && mete_tokeniser_size(t) < 300); /* it ran dry */
    CU_ASSERT_EQUAL(mete_tokeniser_write(t, &out), METE_OK);
    mete_tokeniser *again = mete_tokeniser_read(mete_buffer_view(&out), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(again);
    mete_tokens tokens = {0};
    mete_tokeniser_encode(again, mete_text_from(" the"), 0, &tokens, NULL);
    CU_ASSERT_EQUAL(tokens.count, 1);
    mete_tokens_free(&tokens);
    mete_tokeniser_free(again);
    mete_tokeniser_free(t);
    mete_buffer_free(&out);
    plan.specials = 3;
    CU_ASSERT_PTR_NULL(mete_tokeniser_train(text, 2, &plan, &err));
    CU_ASSERT(strstr(err.message, "twice") != NULL);
    plan.specials = 0;
    plan.vocabulary = 255;
    CU_ASSERT_PTR_NULL(mete_tokeniser_train(text, 2, &plan, &err));
    CU_ASSERT(err.code == METE_EINVAL && strstr(err.message, "from 256"));
    plan.vocabulary = 400; /* nothing to learn from is no error: the bytes */
    t = mete_tokeniser_train(NULL, 0, &plan, &err);
    CU_ASSERT(t && mete_tokeniser_size(t) == 256);
    mete_tokeniser_free(t);
    plan.least = 3; /* " the" twice only; "th" and "the" thrice or more */
    t = mete_tokeniser_train(text, 2, &plan, &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t);
    for (size_t i = 0; i < mete_tokeniser_size(t); i++)
        CU_ASSERT_FALSE(mete_text_is(mete_tokeniser_token(t, (int32_t)i), " that"));
    mete_tokeniser_free(t);
}

/* Words: the most frequent pieces, of equals the first as spelt; others are unknown, and so is what
 * only spells a special token. */
static void
words_kind(void)
{
    const char *const special[] = {"end", "other"};
    mete_token_plan plan = {.size = sizeof plan,
                            .split = METE_SPLIT_GPT2,
                            .vocabulary = 5,
                            .special = special,
                            .specials = 2,
                            .kind = METE_TOKENS_WORDS,
                            .unknown = 1};
    mete_text text = mete_text_from(" b a b a c a end end end d");
    mete_error err = {0};
    mete_buffer out = {0}, back = {0};
    mete_tokeniser *t = mete_tokeniser_train(&text, 1, &plan, &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t);
    CU_ASSERT_EQUAL(mete_tokeniser_size(t), 5);
    static const char *const token[] = {"end", "other", " a", " end", " b"};
    for (int i = 0; i < 5; i++)
        CU_ASSERT(mete_text_is(mete_tokeniser_token(t, i), token[i]));
    CU_ASSERT_EQUAL(mete_tokeniser_write(t, &out), METE_OK);
    mete_tokeniser *again = mete_tokeniser_read(mete_buffer_view(&out), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(again);
    mete_tokens tokens = {0};
    CU_ASSERT_EQUAL(
        mete_tokeniser_encode(again, mete_text_from("end a zebra b\xff"), 0, &tokens, NULL),
        METE_OK);
    static const int32_t id[] = {1, 2, 1, 4, 1}, end[] = {3, 5, 11, 13, 14};
    CU_ASSERT_EQUAL_FATAL(tokens.count, 5);
    for (int i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(tokens.id[i], id[i]);
        CU_ASSERT_EQUAL(tokens.end[i], (uint32_t)end[i]);
    }
    CU_ASSERT_EQUAL(mete_tokeniser_decode(again, tokens.id, 3, 0, &back, NULL), METE_OK);
    CU_ASSERT(mete_text_is(mete_buffer_view(&back), "other aother"));
    mete_tokens_free(&tokens);
    mete_buffer_free(&out);
    mete_buffer_free(&back);
    mete_tokeniser_free(again);
    mete_tokeniser_free(t);
    plan.least = 3;
    t = mete_tokeniser_train(&text, 1, &plan, &err);
    CU_ASSERT(t && mete_tokeniser_size(t) == 4); /* " b" was met twice */
    mete_tokeniser_free(t);
    plan.unknown = 2;
    CU_ASSERT_PTR_NULL(mete_tokeniser_train(&text, 1, &plan, &err));
    CU_ASSERT(strstr(err.message, "for what is unknown") != NULL);
    static const char *const bad[][2] = {
        {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0},\"unk_token\":\"b\"}}",
         "unk_token"},
        {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0}}}", "unk_token"},
        {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0},\"unk_token\":\"a\"},"
         "\"pre_tokenizer\":{\"type\":\"Whitespace\"}}",
         "pre_tokenizer"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CU_ASSERT_PTR_NULL(mete_tokeniser_read(mete_text_from(bad[i][0]), &err));
        CU_ASSERT(strstr(err.message, bad[i][1]) != NULL);
    }
}

void suite_tokeniser(void);

void
suite_tokeniser(void)
{
    CU_pSuite s = CU_add_suite("tokeniser", NULL, NULL);
    CU_add_test(s, "tokens are the reference's", vectors);
    CU_add_test(s, "what is written reads back the same", written);
    CU_add_test(s, "any bytes come back", any_bytes);
    CU_add_test(s, "bytes and specials", bytes_kind);
    CU_add_test(s, "files that are refused", bad_files);
    CU_add_test(s, "pieces with and without the matcher", ascii_pieces);
    CU_add_test(s, "merges as the plain algorithm learns them", trained);
    CU_add_test(s, "training at its edges", train_edges);
    CU_add_test(s, "words", words_kind);
    CU_add_test(s, "a piece of a megabyte", long_pieces);
    CU_add_test(s, "long runs", long_runs);
}
