/* token_encode.c - a text to tokens: added tokens are found, what lies between is normalised, cut
 * into pieces, and each piece merged; pieces met before come from a cache.
 */
#include "text/token.h"

#include <stdlib.h>

/* A remembered piece of at most CACHE_BYTES bytes; 64 bytes, a line of the processor's cache. */
#define CACHE_BYTES 16
#define CACHE_TOKENS 9
#define CACHE_LINES (1 << 14)

struct line {
    uint64_t key[2]; /* the piece, zeros after it */
    uint8_t bytes, tokens, length[CACHE_TOKENS];
    uint32_t id[CACHE_TOKENS];
};

/* What a mete_tokens keeps between calls. */
struct scratch {
    uint64_t serial; /* of the tokeniser the cache is of */
    struct line *line;
    mete__matcher matcher;
    mete__merger merger;
    mete_buffer prefixed, name;
    mete__nfc nfc;
};

/* One call: where positions of the text at hand lie in the caller's. */
struct run {
    const mete_tokeniser *t;
    struct scratch *s;
    mete_tokens *out;
    unsigned flags;
    mete_error *err;
    size_t base;  /* byte 0 of the text at hand is this byte of the caller's... */
    bool changed; /* ...unless NFC changed it: then nfc's map says */
    size_t shift; /* 1 where a space was put before the piece at hand */
    size_t low;   /* no position is before this */
};

static int
no_memory(const struct run *run)
{
    return mete_error_set(run->err, METE_ENOMEM, "out of memory for tokens");
}

/* ---- tokens out ------------------------------------------------------------------------------ */

static int
make_room(struct run *run, size_t more)
{
    mete_tokens *out = run->out;
    if (out->room - out->count >= more)
        return METE_OK;
    size_t room = 2 * (out->count + more) + 64;
    int32_t *id = realloc(out->id, room * sizeof *id);
    if (id)
        out->id = id;
    uint32_t *start = realloc(out->start, room * sizeof *start);
    if (start)
        out->start = start;
    uint32_t *end = realloc(out->end, room * sizeof *end);
    if (end)
        out->end = end;
    if (!id || !start || !end)
        return no_memory(run);
    out->room = room;
    return METE_OK;
}

static uint32_t
source_of(const struct run *run, size_t at, bool is_end)
{
    at = at < run->low + run->shift ? run->low : at - run->shift;
    if (run->changed)
        at = mete__nfc_source(&run->s->nfc, at, is_end);
    return (uint32_t)(run->base + at);
}

/* Room has been made. */
static inline void
emit(struct run *run, uint32_t id, size_t from, size_t to)
{
    mete_tokens *out = run->out;
    out->id[out->count] = (int32_t)id;
    if (run->changed || run->shift) {
        out->start[out->count] = source_of(run, from, false);
        out->end[out->count++] = source_of(run, to, true);
    } else {
        out->start[out->count] = (uint32_t)(run->base + from);
        out->end[out->count++] = (uint32_t)(run->base + to);
    }
}

/* ---- pieces ---------------------------------------------------------------------------------- */

/* The whole piece as one token of the vocabulary, or -1. */
static int32_t
whole_token(struct run *run, mete_text piece)
{
    mete_buffer *name = &run->s->name;
    mete_buffer_clear(name);
    return mete__byte_names(name, piece) ? -1 : mete__token_find(run->t, mete_buffer_view(name));
}

/* Of a vocabulary of words. What only spells a special token is none. */
static int
encode_word(struct run *run, mete_text piece, size_t at)
{
    int32_t id = whole_token(run, piece);
    if (make_room(run, 1))
        return METE_ENOMEM;
    if (id < 0 || run->t->token[id].special)
        id = run->t->unknown;
    emit(run, (uint32_t)id, at, at + piece.length);
    return METE_OK;
}

/* A vocabulary that lacks bytes: the tokens of the unknown ones stand for as many bytes as were
 * fused, so nothing here is cached. */
static int
encode_partly(struct run *run, mete_text piece, size_t at)
{
    const mete_tokeniser *t = run->t;
    mete__merger *m = &run->s->merger;
    size_t count = 0, from = 0, known = 0;
    uint32_t unknown = (uint32_t)t->unknown;
    if (mete__merger_reserve(m, piece.length) || make_room(run, piece.length))
        return no_memory(run);
    for (size_t i = 0; i < piece.length; i++) {
        int32_t id = t->byte[(unsigned char)piece.data[i]];
        if (id < 0 && count && t->fuse_unknown && i && m->id[count - 1] == unknown &&
            t->byte[(unsigned char)piece.data[i - 1]] < 0)
            continue;
        m->id[count++] = id < 0 ? unknown : (uint32_t)id;
    }
    count = mete__merge_run(t, m, count);
    if (count == SIZE_MAX)
        return no_memory(run);
    for (size_t k = 0; k < count; k++) {
        from = known;
        if (m->id[k] == unknown && t->byte[(unsigned char)piece.data[known]] < 0) {
            known++;
            while (t->fuse_unknown && known < piece.length &&
                   t->byte[(unsigned char)piece.data[known]] < 0)
                known++;
        } else {
            known += t->length[m->id[k]];
        }
        emit(run, m->id[k], at + from, at + known);
    }
    return METE_OK;
}

/* Tokens of a piece into the merger's; their number, or SIZE_MAX when out of memory. */
static size_t
merge_piece(struct run *run, mete_text piece)
{
    const mete_tokeniser *t = run->t;
    mete__merger *m = &run->s->merger;
    if (mete__merger_reserve(m, piece.length))
        return SIZE_MAX;
    if (t->ignore_merges) {
        int32_t id = whole_token(run, piece);
        if (id >= 0) {
            m->id[0] = (uint32_t)id;
            return 1;
        }
    }
    for (size_t i = 0; i < piece.length; i++)
        m->id[i] = (uint32_t)t->byte[(unsigned char)piece.data[i]];
    return mete__merge_run(t, m, piece.length);
}

static inline struct line
line_of(mete_text piece)
{
    struct line line = {.bytes = (uint8_t)piece.length};
    memcpy(line.key, piece.data, piece.length);
    return line;
}

static inline struct line *
line_at(struct scratch *s, const struct line *wanted)
{
    uint64_t hash = wanted->key[0] * 0x9e3779b97f4a7c15u ^ wanted->key[1] * 0xc2b2ae3d27d4eb4fu;
    return &s->line[(hash ^ hash >> 32) * 0x9e3779b97f4a7c15u >> 50];
}
_Static_assert(CACHE_LINES == 1 << (64 - 50), "the hash's upper bits number the lines");

static int
encode_piece(struct run *run, mete_text piece, size_t at)
{
    const mete_tokeniser *t = run->t;
    struct line *line = NULL, wanted;
    if (t->words)
        return encode_word(run, piece, at);
    if (!t->whole)
        return encode_partly(run, piece, at);
    if (piece.length <= CACHE_BYTES) {
        wanted = line_of(piece);
        line = line_at(run->s, &wanted);
        if (line->bytes == wanted.bytes && line->key[0] == wanted.key[0] &&
            line->key[1] == wanted.key[1]) {
            if (make_room(run, CACHE_TOKENS))
                return METE_ENOMEM;
            for (size_t k = 0; k < line->tokens; k++) {
                emit(run, line->id[k], at, at + line->length[k]);
                at += line->length[k];
            }
            return METE_OK;
        }
    }
    size_t count = merge_piece(run, piece);
    if (count == SIZE_MAX || make_room(run, count))
        return no_memory(run);
    const uint32_t *id = run->s->merger.id;
    for (size_t k = 0; k < count; k++) {
        emit(run, id[k], at, at + t->length[id[k]]);
        at += t->length[id[k]];
    }
    if (line && count <= CACHE_TOKENS) {
        wanted.tokens = (uint8_t)count;
        for (size_t k = 0; k < count; k++) {
            wanted.id[k] = id[k];
            wanted.length[k] = (uint8_t)t->length[id[k]];
        }
        *line = wanted;
    }
    return METE_OK;
}

/* Steps from `step` on over a piece that begins at byte `at` of the text at hand. */
static int
run_steps(struct run *run, mete_text piece, size_t at, size_t step)
{
    if (step == run->t->steps)
        return encode_piece(run, piece, at);
    const mete__step *s = &run->t->step[step];
    if (s->prefix_space && piece.length && piece.data[0] != ' ') {
        mete_buffer *prefixed = &run->s->prefixed;
        mete_buffer_clear(prefixed);
        mete_buffer_byte(prefixed, ' ');
        if (mete_buffer_text(prefixed, piece))
            return no_memory(run);
        piece = mete_buffer_view(prefixed);
        run->shift = 1;
        run->low = at;
    }
    int status = METE_OK;
    for (size_t from = 0; from < piece.length && !status;) {
        size_t to = mete__split_next(run->t, &run->s->matcher, s->split, piece, from, run->err);
        if (to == SIZE_MAX)
            status = run->err ? run->err->code : METE_EDATA;
        else
            status = run_steps(run, (mete_text){piece.data + from, to - from}, at + from, step + 1);
        from = to;
    }
    if (s->byte_level)
        run->shift = run->low = 0;
    return status;
}

/* ---- added tokens ---------------------------------------------------------------------------- */

/* The longest added token that begins at text[at]; NULL when none does. */
static const mete__added *
longest(const mete_tokeniser *t, const mete__trie *trie, mete_text text, size_t at)
{
    const mete__added *found = NULL;
    uint32_t node = 0;
    for (; at < text.length; at++) {
        uint32_t child = trie->node[node].child;
        while (child && trie->node[child].byte != (unsigned char)text.data[at])
            child = trie->node[child].sibling;
        if (!child)
            break;
        node = child;
        if (trie->node[node].added)
            found = &t->added[trie->node[node].added - 1];
    }
    return found;
}

/* Is this match kept? Its flags may widen it over the white space beside it, from `low` on. */
static bool
keep(struct run *run, const mete__added *added, mete_text text, size_t low, size_t *start,
     size_t *end)
{
    mete_text before = {text.data, *start}, after = {text.data + *end, text.length - *end};
    if (added->special && !(run->flags & METE_ENCODE_SPECIALS))
        return false;
    if (added->single_word && (mete__is_word(run->t, &run->s->matcher, before, true) ||
                               mete__is_word(run->t, &run->s->matcher, after, false)))
        return false;
    if (added->lstrip) {
        size_t wider = *start - mete__spaces_last(before);
        *start = wider > low ? wider : low;
    }
    if (added->rstrip)
        *end += mete__spaces_first(after);
    return *start >= low;
}

static int between(struct run *run, mete_text text, size_t at, int pass);

/* Finds the added tokens of a pass, leftmost and longest, and runs what lies between them. */
static int
find_added(struct run *run, mete_text text, int pass)
{
    const mete__trie *trie = &run->t->trie[pass];
    size_t done = 0;
    int status = METE_OK;
    for (size_t at = 0; trie->nodes && at < text.length && !status;) {
        const mete__added *added =
            trie->first[(unsigned char)text.data[at]] ? longest(run->t, trie, text, at) : NULL;
        if (!added) {
            at++;
            continue;
        }
        size_t start = at, end = at + mete__added_text(run->t, added).length;
        at = end;
        if (!keep(run, added, text, done, &start, &end))
            continue;
        status = between(run, (mete_text){text.data + done, start - done}, done, pass);
        if (!status)
            status = make_room(run, 1);
        if (!status)
            emit(run, added->id, start, end);
        done = end;
    }
    return status ? status
                  : between(run, (mete_text){text.data + done, text.length - done}, done, pass);
}

/* A stretch that holds no added token of this pass, from byte `at` of the text at hand. */
static int
between(struct run *run, mete_text text, size_t at, int pass)
{
    if (!text.length)
        return METE_OK;
    if (pass)
        return run_steps(run, text, at, 0);
    size_t base = run->base;
    mete_text normal = text;
    if (run->t->nfc) {
        int changed = mete__nfc_run(&run->s->nfc, text, &normal);
        if (changed < 0)
            return no_memory(run);
        run->changed = changed;
    }
    run->base = base + at;
    int status = find_added(run, normal, 1);
    run->base = base;
    run->changed = false;
    return status;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static struct scratch *
scratch_of(const mete_tokeniser *t, mete_tokens *tokens, mete_error *err)
{
    struct scratch *s = tokens->scratch;
    if (!s) {
        tokens->scratch = s = calloc(1, sizeof *s);
        if (!s || !(s->line = calloc(CACHE_LINES, sizeof *s->line))) {
            mete_error_set(err, METE_ENOMEM, "out of memory for tokens");
            return NULL;
        }
    }
    if (!s->matcher.data && mete__matcher_open(&s->matcher, err))
        return NULL;
    if (s->serial != t->serial) {
        memset(s->line, 0, CACHE_LINES * sizeof *s->line);
        s->serial = t->serial;
    }
    return s;
}

void
mete_tokens_free(mete_tokens *tokens)
{
    struct scratch *s = tokens->scratch;
    if (s) {
        mete__matcher_close(&s->matcher);
        mete__merger_free(&s->merger);
        mete__nfc_free(&s->nfc);
        mete_buffer_free(&s->prefixed);
        mete_buffer_free(&s->name);
        free(s->line);
        free(s);
    }
    free(tokens->id);
    free(tokens->start);
    free(tokens->end);
    *tokens = (mete_tokens){0};
}

/* Bytes from `at` on that are not UTF-8. */
static size_t
bad_bytes(mete_text text, size_t at)
{
    size_t from = at;
    while (at < text.length) {
        size_t next = at;
        if (mete_utf8_next(text, &next) != 0xfffd || next != at + 1)
            break;
        at = next;
    }
    return at - from;
}

static int
put_template(struct run *run, size_t from, size_t to, size_t at)
{
    int status = make_room(run, to - from);
    run->base = 0;
    for (size_t i = from; i < to && !status; i++)
        emit(run, run->t->around.id[i], at, at);
    return status;
}

int
mete_tokeniser_encode(const mete_tokeniser *t, mete_text text, unsigned flags, mete_tokens *out,
                      mete_error *err)
{
    size_t before = out->count;
    mete_error own = {0};
    if (text.length >= UINT32_MAX)
        return mete_error_set(err, METE_EINVAL, "a text of %zu bytes; less than 4 GiB are encoded",
                              text.length);
    struct run run = {
        .t = t, .s = scratch_of(t, out, err), .out = out, .flags = flags, .err = err ? err : &own};
    if (!run.s)
        return METE_ENOMEM;
    bool templated = flags & METE_ENCODE_TEMPLATE;
    int status = templated ? put_template(&run, 0, t->around.before, 0) : METE_OK;
    for (size_t at = 0; at < text.length && !status;) {
        size_t good = mete_utf8_check(mete_text_slice(text, at, text.length));
        run.base = at;
        if (good)
            status = find_added(&run, (mete_text){text.data + at, good}, 0);
        at += good;
        size_t bad = bad_bytes(text, at);
        run.base = at;
        if (bad && !status)
            status = encode_piece(&run, (mete_text){text.data + at, bad}, 0);
        at += bad;
    }
    if (!status && templated)
        status = put_template(&run, t->around.before, t->around.count, text.length);
    if (status)
        out->count = before;
    return status;
}
