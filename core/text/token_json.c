/* token_json.c - reads and writes tokenizer.json. What is not done exactly is refused by name. */
#include "text/token.h"

#include <stdlib.h>

#define FILE_MOST ((size_t)256 << 20)

static int
refuse(mete_error *err, const char *field, const char *allowed)
{
    return mete_error_set(err, METE_ENOTSUP, "%s: %s", field, allowed);
}

static int
wrong(mete_error *err, const char *field, const char *wanted)
{
    return mete_error_set(err, METE_EDATA, "%s is not %s", field, wanted);
}

static bool
is_absent(const mete_json *value)
{
    return mete_json_kind(value) <= METE_JSON_NULL;
}

static bool
type_is(const mete_json *object, const char *type)
{
    return mete_text_is(mete_json_text(mete_json_get(object, "type")), type);
}

/* A flag of an object; `value` stays where it is absent. */
static int
read_flag(const mete_json *object, const char *key, bool *value, mete_error *err)
{
    const mete_json *flag = mete_json_get(object, key);
    if (!is_absent(flag) && mete_json_kind(flag) != METE_JSON_BOOL)
        return wrong(err, key, "true or false");
    if (!is_absent(flag))
        *value = mete_json_bool(flag);
    return METE_OK;
}

static int
read_number(const mete_json *value, const char *what, uint32_t *id, mete_error *err)
{
    double number = mete_json_number(value);
    if (!(number >= 0 && number < METE_TOKENS_MOST) || number != (uint32_t)number)
        return mete_error_set(err, METE_EDATA, "%s is not a number from 0 to %d", what,
                              METE_TOKENS_MOST - 1);
    *id = (uint32_t)number;
    return METE_OK;
}

/* ---- model ----------------------------------------------------------------------------------- */

static int
read_vocabulary(mete_tokeniser *t, const mete_json *model, mete_error *err)
{
    const mete_json *vocabulary = mete_json_get(model, "vocab");
    if (mete_json_kind(vocabulary) != METE_JSON_OBJECT)
        return wrong(err, "model.vocab", "an object of token: number");
    for (const mete_json *at = mete_json_first(vocabulary); at; at = mete_json_next(at)) {
        uint32_t id = 0;
        mete_text name = mete_json_key(at);
        int status = read_number(at, "a number in model.vocab", &id, err);
        if (!status && !name.length)
            status = wrong(err, "a token of model.vocab, \"\",", "of at least one character");
        if (!status)
            status = mete__token_add(t, id, name, err);
        if (status)
            return status;
    }
    return METE_OK;
}

/* The two names of a merge, "a b" or ["a", "b"]. */
static int
merge_names(const mete_json *merge, mete_text *left, mete_text *right)
{
    if (mete_json_kind(merge) == METE_JSON_ARRAY) {
        const mete_json *first = mete_json_first(merge), *second = mete_json_next(first);
        *left = mete_json_text(first);
        *right = mete_json_text(second);
        return left->length && right->length && !mete_json_next(second);
    }
    mete_text text = mete_json_text(merge);
    const char *space = text.length ? memchr(text.data, ' ', text.length) : NULL;
    if (!space)
        return 0;
    *left = (mete_text){text.data, (size_t)(space - text.data)};
    *right = mete_text_slice(text, left->length + 1, text.length);
    return left->length && right->length && !memchr(right->data, ' ', right->length);
}

static int
read_merges(mete_tokeniser *t, const mete_json *model, mete_error *err)
{
    const mete_json *merges = mete_json_get(model, "merges");
    mete_buffer joined = {0};
    size_t number = 0;
    int status = METE_OK;
    if (mete_json_kind(merges) != METE_JSON_ARRAY)
        return wrong(err, "model.merges", "an array");
    for (const mete_json *at = mete_json_first(merges); at && !status; at = mete_json_next(at)) {
        mete_text name[2];
        if (mete_text_starts(mete_json_text(at), mete_text_from("#version")))
            continue;
        number++;
        if (!merge_names(at, &name[0], &name[1])) {
            status = mete_error_set(err, METE_EDATA,
                                    "merge %zu of model.merges is not \"a b\" or [\"a\", \"b\"]",
                                    number);
            break;
        }
        mete_buffer_clear(&joined);
        mete_buffer_text(&joined, name[0]);
        if (mete_buffer_text(&joined, name[1])) {
            status = mete_error_set(err, METE_ENOMEM, "out of memory for merges");
            break;
        }
        int32_t left = mete__token_find(t, name[0]), right = mete__token_find(t, name[1]);
        int32_t made = mete__token_find(t, mete_buffer_view(&joined));
        if (left < 0 || right < 0 || made < 0)
            status = mete_error_set(err, METE_EDATA,
                                    "merge %zu of model.merges: \"%.*s\" is not in model.vocab",
                                    number, (int)(joined.length < 60 ? joined.length : 60),
                                    left < 0    ? name[0].data
                                    : right < 0 ? name[1].data
                                                : joined.data);
        else
            status = mete__merge_add(t, (uint32_t)left, (uint32_t)right, (uint32_t)made, err);
    }
    mete_buffer_free(&joined);
    return status;
}

static int
read_unknown(mete_tokeniser *t, const mete_json *model, mete_error *err)
{
    const mete_json *unknown = mete_json_get(model, "unk_token");
    if (is_absent(unknown))
        return METE_OK;
    if (mete_json_kind(unknown) != METE_JSON_STRING)
        return wrong(err, "model.unk_token", "null or a string");
    t->unknown = mete__token_find(t, mete_json_text(unknown));
    return t->unknown < 0 ? wrong(err, "model.unk_token", "in model.vocab") : METE_OK;
}

static int
read_words(mete_tokeniser *t, const mete_json *model, mete_error *err)
{
    int status;
    t->words = true;
    if ((status = read_vocabulary(t, model, err)) || (status = read_unknown(t, model, err)))
        return status;
    return t->unknown < 0 ? wrong(err, "model.unk_token", "in model.vocab") : METE_OK;
}

static int
read_bpe(mete_tokeniser *t, const mete_json *model, mete_error *err)
{
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    int status;
    const mete_json *dropout = mete_json_get(model, "dropout");
    if (!is_absent(dropout) && mete_json_number(dropout) != 0)
        return refuse(err, "model.dropout", "only null is read");
    for (size_t i = 0; i < 2; i++)
        if (!is_absent(mete_json_get(model, affixes[i])) &&
            !mete_text_is(mete_json_text(mete_json_get(model, affixes[i])), ""))
            return mete_error_set(err, METE_ENOTSUP, "model.%s: only null or \"\" is read",
                                  affixes[i]);
    if ((status = read_flag(model, "fuse_unk", &t->fuse_unknown, err)) ||
        (status = read_flag(model, "byte_fallback", &t->byte_fallback, err)) ||
        (status = read_flag(model, "ignore_merges", &t->ignore_merges, err)) ||
        (status = read_vocabulary(t, model, err)) || (status = read_unknown(t, model, err)))
        return status;
    return read_merges(t, model, err);
}

static int
read_model(mete_tokeniser *t, const mete_json *model, mete_error *err)
{
    if (mete_json_kind(model) != METE_JSON_OBJECT)
        return wrong(err, "model", "an object");
    if (type_is(model, "WordLevel"))
        return read_words(t, model, err);
    /* Files from before `type` was written are of BPE where they have merges. */
    if (type_is(model, "BPE") ||
        (is_absent(mete_json_get(model, "type")) && mete_json_get(model, "merges")))
        return read_bpe(t, model, err);
    return refuse(err, "model.type", "only BPE and WordLevel are read");
}

static int
read_added(mete_tokeniser *t, const mete_json *list, mete_error *err)
{
    if (is_absent(list))
        return METE_OK;
    if (mete_json_kind(list) != METE_JSON_ARRAY)
        return wrong(err, "added_tokens", "an array");
    for (const mete_json *at = mete_json_first(list); at; at = mete_json_next(at)) {
        mete__added added = {0};
        int status;
        if (mete_json_kind(mete_json_get(at, "content")) != METE_JSON_STRING)
            return wrong(err, "content of added_tokens", "a string");
        if ((status = read_number(mete_json_get(at, "id"), "id of added_tokens", &added.id, err)) ||
            (status = read_flag(at, "special", &added.special, err)))
            return status;
        added.normalized = !added.special;
        if ((status = read_flag(at, "normalized", &added.normalized, err)) ||
            (status = read_flag(at, "lstrip", &added.lstrip, err)) ||
            (status = read_flag(at, "rstrip", &added.rstrip, err)) ||
            (status = read_flag(at, "single_word", &added.single_word, err)) ||
            (status = mete__added_add(t, mete_json_text(mete_json_get(at, "content")), added, err)))
            return status;
    }
    return METE_OK;
}

/* ---- what is around the model ---------------------------------------------------------------- */

/* Calls `one` on a value, or on each element of a Sequence's array `key`; null is nothing. */
typedef int (*read_one)(mete_tokeniser *t, const mete_json *value, mete_error *err);

static int
read_sequence(mete_tokeniser *t, const mete_json *value, const char *field, const char *key,
              read_one one, mete_error *err)
{
    if (is_absent(value))
        return METE_OK;
    if (mete_json_kind(value) != METE_JSON_OBJECT)
        return wrong(err, field, "null or an object");
    if (!type_is(value, "Sequence"))
        return one(t, value, err);
    const mete_json *list = mete_json_get(value, key);
    if (mete_json_kind(list) != METE_JSON_ARRAY)
        return mete_error_set(err, METE_EDATA, "%s.%s is not an array", field, key);
    int status = METE_OK;
    for (const mete_json *at = mete_json_first(list); at && !status; at = mete_json_next(at))
        status = one(t, at, err);
    return status;
}

static int
read_normalizer(mete_tokeniser *t, const mete_json *value, mete_error *err)
{
    if (!type_is(value, "NFC"))
        return refuse(err, "normalizer", "only null, NFC and a Sequence of NFC are read");
    t->nfc = true;
    return METE_OK;
}

static int
read_split(mete__step *step, const mete_json *value, mete_error *err)
{
    bool invert = false;
    mete_text pattern = mete_json_text(mete_json_get(mete_json_get(value, "pattern"), "Regex"));
    int status = read_flag(value, "invert", &invert, err);
    if (status)
        return status;
    if (invert || !mete_text_is(mete_json_text(mete_json_get(value, "behavior")), "Isolated"))
        return refuse(err, "pre_tokenizer",
                      "of Split only behavior \"Isolated\" with invert false is read");
    for (mete_split split = METE_SPLIT_GPT2; split <= METE_SPLIT_QWEN2; split++)
        if (mete_text_is(pattern, mete__split_pattern(split))) {
            step->split = split;
            return METE_OK;
        }
    return refuse(err, "pre_tokenizer",
                  "of Split only the patterns (Regex) of GPT-2, Llama 3 and Qwen 2 are read");
}

static int
read_step(mete_tokeniser *t, const mete_json *value, mete_error *err)
{
    mete__step step = {0};
    int status;
    if (t->steps == METE__STEPS_MOST)
        return refuse(err, "pre_tokenizer", "no Sequence of more than 8 is read");
    if (t->steps && t->step[t->steps - 1].byte_level)
        return refuse(err, "pre_tokenizer", "nothing is read after ByteLevel");
    if (type_is(value, "ByteLevel")) {
        bool pattern = true;
        step.byte_level = step.prefix_space = step.trim_offsets = true;
        if ((status = read_flag(value, "add_prefix_space", &step.prefix_space, err)) ||
            (status = read_flag(value, "use_regex", &pattern, err)) ||
            (status = read_flag(value, "trim_offsets", &step.trim_offsets, err)))
            return status;
        step.split = pattern ? METE_SPLIT_GPT2 : METE_SPLIT_NONE;
    } else if (type_is(value, "Split")) {
        if ((status = read_split(&step, value, err)))
            return status;
    } else {
        return refuse(err, "pre_tokenizer", "only Split, ByteLevel and a Sequence are read");
    }
    t->step[t->steps++] = step;
    return METE_OK;
}

/* Numbers of one special token of a template. */
static int
put_special(mete_tokeniser *t, const mete_json *tokens, mete_text name, mete_error *err)
{
    const mete_json *ids = NULL;
    for (const mete_json *at = mete_json_first(tokens); at; at = mete_json_next(at))
        if (mete_text_equal(mete_json_key(at), name))
            ids = mete_json_get(at, "ids");
    if (mete_json_kind(ids) != METE_JSON_ARRAY)
        return wrong(err, "post_processor.special_tokens", "of an array `ids` for each token used");
    for (const mete_json *at = mete_json_first(ids); at; at = mete_json_next(at)) {
        uint32_t id = 0;
        int status = read_number(at, "an id of post_processor", &id, err);
        if (status)
            return status;
        if (id >= t->size || !t->token[id].known)
            return mete_error_set(err, METE_EDATA, "post_processor names %u, which is no token",
                                  id);
        uint32_t *grown = realloc(t->around.id, (t->around.count + 1) * sizeof *grown);
        if (!grown)
            return mete_error_set(err, METE_ENOMEM, "out of memory for a template");
        t->around.id = grown;
        grown[t->around.count++] = id;
    }
    return METE_OK;
}

static int
read_template(mete_tokeniser *t, const mete_json *value, mete_error *err)
{
    bool seen = false;
    if (t->around.count)
        return refuse(err, "post_processor", "only one TemplateProcessing is read");
    for (const mete_json *at = mete_json_first(mete_json_get(value, "single")); at;
         at = mete_json_next(at)) {
        const mete_json *special = mete_json_get(at, "SpecialToken");
        const mete_json *sequence = mete_json_get(at, "Sequence");
        if (special) {
            int status = put_special(t, mete_json_get(value, "special_tokens"),
                                     mete_json_text(mete_json_get(special, "id")), err);
            if (status)
                return status;
        } else if (sequence && !seen &&
                   mete_text_is(mete_json_text(mete_json_get(sequence, "id")), "A")) {
            seen = true;
            t->around.before = t->around.count;
        } else {
            return refuse(err, "post_processor.single",
                          "only special tokens around one Sequence A are read");
        }
    }
    return seen ? METE_OK : wrong(err, "post_processor.single", "of a Sequence A");
}

static int
read_processor(mete_tokeniser *t, const mete_json *value, mete_error *err)
{
    if (type_is(value, "TemplateProcessing"))
        return read_template(t, value, err);
    if (type_is(value, "ByteLevel")) /* it trims spans, which here tile the text */
        return METE_OK;
    return refuse(err, "post_processor",
                  "only null, ByteLevel, TemplateProcessing and a Sequence of these are read");
}

static int
read_decoder(mete_tokeniser *t, const mete_json *value, mete_error *err)
{
    (void)t;
    return type_is(value, "ByteLevel") ? METE_OK
                                       : refuse(err, "decoder", "only null and ByteLevel are read");
}

static int
read_root(mete_tokeniser *t, const mete_json *root, mete_error *err)
{
    int status;
    if (mete_json_kind(root) != METE_JSON_OBJECT)
        return wrong(err, "the document", "an object");
    /* Numbers may have holes, but most are used. */
    size_t tokens = mete_json_count(mete_json_get(mete_json_get(root, "model"), "vocab")) +
                    mete_json_count(mete_json_get(root, "added_tokens"));
    if (tokens < (METE_TOKENS_MOST - 65536) / 4)
        t->most = (uint32_t)(65536 + 4 * tokens);
    if ((status = read_model(t, mete_json_get(root, "model"), err)) ||
        (status = read_added(t, mete_json_get(root, "added_tokens"), err)) ||
        (status = read_sequence(t, mete_json_get(root, "normalizer"), "normalizer", "normalizers",
                                read_normalizer, err)) ||
        (status = read_sequence(t, mete_json_get(root, "pre_tokenizer"), "pre_tokenizer",
                                "pretokenizers", read_step, err)) ||
        (status = read_sequence(t, mete_json_get(root, "post_processor"), "post_processor",
                                "processors", read_processor, err)) ||
        (status = read_sequence(t, mete_json_get(root, "decoder"), "decoder", "decoders",
                                read_decoder, err)))
        return status;
    if (!t->steps || !t->step[t->steps - 1].byte_level)
        return refuse(err, "pre_tokenizer", "it has to end in ByteLevel");
    return mete__tokeniser_finish(t, err);
}

mete_tokeniser *
mete_tokeniser_read(mete_text json, mete_error *err)
{
    mete_json *root = mete_json_parse(json, err);
    mete_tokeniser *t = root ? mete__tokeniser_new(err) : NULL;
    int status = t ? read_root(t, root, err) : METE_EDATA;
    mete_json_free(root);
    if (!status)
        return t;
    mete_tokeniser_free(t);
    return NULL;
}

mete_tokeniser *
mete_tokeniser_open(const char *path, mete_error *err)
{
    mete_error why = {0};
    mete_buffer text = {0};
    mete_tokeniser *t = NULL;
    if (mete_file_read(path, FILE_MOST, &text, err) == METE_OK) {
        t = mete_tokeniser_read(mete_buffer_view(&text), &why);
        if (!t)
            mete_error_set(err, why.code, "%s: %s", path, why.message);
    }
    mete_buffer_free(&text);
    return t;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void
put_flag(mete_buffer *out, const char *key, bool value)
{
    mete_buffer_format(out, "\"%s\": %s", key, value ? "true" : "false");
}

static void
put_added(const mete_tokeniser *t, mete_buffer *out)
{
    mete_buffer_string(out, "  \"added_tokens\": [");
    for (size_t i = 0; i < t->addeds; i++) {
        const mete__added *added = &t->added[i];
        mete_buffer_format(out, "%s\n    {\"id\": %u, \"content\": ", i ? "," : "", added->id);
        mete_json_put_text(out, mete__added_text(t, added));
        mete_buffer_string(out, ", ");
        put_flag(out, "single_word", added->single_word);
        mete_buffer_string(out, ", ");
        put_flag(out, "lstrip", added->lstrip);
        mete_buffer_string(out, ", ");
        put_flag(out, "rstrip", added->rstrip);
        mete_buffer_string(out, ", ");
        put_flag(out, "normalized", added->normalized);
        mete_buffer_string(out, ", ");
        put_flag(out, "special", added->special);
        mete_buffer_string(out, "}");
    }
    mete_buffer_string(out, t->addeds ? "\n  ],\n" : "],\n");
}

static void
put_byte_level(mete_buffer *out, const mete__step *step)
{
    mete_buffer_string(out, "{\"type\": \"ByteLevel\", ");
    put_flag(out, "add_prefix_space", step->prefix_space);
    mete_buffer_string(out, ", ");
    put_flag(out, "trim_offsets", step->trim_offsets);
    mete_buffer_string(out, ", ");
    put_flag(out, "use_regex", step->split != METE_SPLIT_NONE);
    mete_buffer_string(out, "}");
}

static void
put_steps(const mete_tokeniser *t, mete_buffer *out)
{
    mete_buffer_string(out, "  \"pre_tokenizer\": ");
    if (t->steps > 1)
        mete_buffer_string(out, "{\"type\": \"Sequence\", \"pretokenizers\": [");
    for (size_t i = 0; i < t->steps; i++) {
        mete_buffer_string(out, i ? ", " : "");
        if (t->step[i].byte_level) {
            put_byte_level(out, &t->step[i]);
            continue;
        }
        mete_buffer_string(out, "{\"type\": \"Split\", \"pattern\": {\"Regex\": ");
        mete_json_put_text(out, mete_text_from(mete__split_pattern(t->step[i].split)));
        mete_buffer_string(out, "}, \"behavior\": \"Isolated\", \"invert\": false}");
    }
    mete_buffer_string(out, t->steps > 1 ? "]},\n" : ",\n");
}

static void
put_piece(mete_buffer *out, const char *kind, mete_text id)
{
    mete_buffer_format(out, "{\"%s\": {\"id\": ", kind);
    mete_json_put_text(out, id);
    mete_buffer_string(out, ", \"type_id\": 0}}");
}

static bool
is_first(const mete__template *around, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (around->id[i] == around->id[at])
            return false;
    return true;
}

static void
put_template(const mete_tokeniser *t, mete_buffer *out)
{
    const mete__template *around = &t->around;
    if (!around->count) {
        mete_buffer_string(out, "  \"post_processor\": null,\n");
        return;
    }
    mete_buffer_string(out,
                       "  \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [");
    for (size_t i = 0; i <= around->count; i++) {
        if (i == around->before) {
            mete_buffer_string(out, i ? ", " : "");
            put_piece(out, "Sequence", mete_text_from("A"));
        }
        if (i == around->count)
            break;
        mete_buffer_string(out, i || !around->before ? ", " : "");
        put_piece(out, "SpecialToken", mete__token_name(t, around->id[i]));
    }
    /* The reference asks for a template of pairs; it is what is read as the pair's default. */
    mete_buffer_string(out, "], \"pair\": [{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, "
                            "{\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}], "
                            "\"special_tokens\": {");
    for (size_t i = 0; i < around->count; i++) {
        mete_text name = mete__token_name(t, around->id[i]);
        if (!is_first(around, i))
            continue;
        mete_buffer_string(out, i ? ", " : "");
        mete_json_put_text(out, name);
        mete_buffer_string(out, ": {\"id\": ");
        mete_json_put_text(out, name);
        mete_buffer_format(out, ", \"ids\": [%u], \"tokens\": [", around->id[i]);
        mete_json_put_text(out, name);
        mete_buffer_string(out, "]}");
    }
    mete_buffer_string(out, "}},\n");
}

static void
put_vocabulary(const mete_tokeniser *t, mete_buffer *out)
{
    bool first = true;
    mete_buffer_string(out, "    \"vocab\": {");
    for (size_t i = 0; i < t->size; i++) {
        if (!t->token[i].known || t->token[i].outside)
            continue;
        mete_buffer_string(out, first ? "\n      " : ",\n      ");
        mete_json_put_text(out, mete__token_name(t, (uint32_t)i));
        mete_buffer_format(out, ": %zu", i);
        first = false;
    }
    mete_buffer_string(out, "\n    }");
}

static void
put_unknown(const mete_tokeniser *t, mete_buffer *out)
{
    mete_buffer_string(out, "\"unk_token\": ");
    if (t->unknown >= 0)
        mete_json_put_text(out, mete__token_name(t, (uint32_t)t->unknown));
    else
        mete_buffer_string(out, "null");
}

static void
put_words(const mete_tokeniser *t, mete_buffer *out)
{
    mete_buffer_string(out, "  \"model\": {\n    \"type\": \"WordLevel\", ");
    put_unknown(t, out);
    mete_buffer_string(out, ",\n");
    put_vocabulary(t, out);
    mete_buffer_string(out, "\n  }\n}\n");
}

static void
put_bpe(const mete_tokeniser *t, mete_buffer *out)
{
    mete_buffer_string(out, "  \"model\": {\n    \"type\": \"BPE\", \"dropout\": null, ");
    put_unknown(t, out);
    mete_buffer_string(out, ", \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null,\n"
                            "    ");
    put_flag(out, "fuse_unk", t->fuse_unknown);
    mete_buffer_string(out, ", ");
    put_flag(out, "byte_fallback", t->byte_fallback);
    mete_buffer_string(out, ", ");
    put_flag(out, "ignore_merges", t->ignore_merges);
    mete_buffer_string(out, ",\n");
    put_vocabulary(t, out);
    mete_buffer_string(out, ",\n    \"merges\": [");
    for (size_t i = 0; i < t->merges; i++) {
        mete_buffer_string(out, i ? ",\n      [" : "\n      [");
        mete_json_put_text(out, mete__token_name(t, t->merge[i].left));
        mete_buffer_string(out, ", ");
        mete_json_put_text(out, mete__token_name(t, t->merge[i].right));
        mete_buffer_string(out, "]");
    }
    mete_buffer_string(out, t->merges ? "\n    ]\n  }\n}\n" : "]\n  }\n}\n");
}

int
mete_tokeniser_write(const mete_tokeniser *t, mete_buffer *out)
{
    mete_buffer_string(out, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n"
                            "  \"padding\": null,\n");
    put_added(t, out);
    mete_buffer_string(out, t->nfc ? "  \"normalizer\": {\"type\": \"NFC\"},\n"
                                   : "  \"normalizer\": null,\n");
    put_steps(t, out);
    put_template(t, out);
    mete_buffer_string(out, "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
                            "\"trim_offsets\": true, \"use_regex\": true},\n");
    (t->words ? put_words : put_bpe)(t, out);
    return out->status;
}
