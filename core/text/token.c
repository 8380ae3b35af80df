/* token.c - the store of a tokeniser: tokens by number and by name, merges, added tokens; decoding.
 */
#include "text/token.h"

#include <stdatomic.h>
#include <stdlib.h>

#include <mete/random.h>

/* ---- the byte alphabet ----------------------------------------------------------------------- */

/* The alphabet of GPT-2: a byte that Latin-1 shows is the character of its number, the others in
 * their order are the characters from U+0100 on. */
static bool
is_shown(unsigned byte)
{
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
}

static uint32_t
code_of_byte(unsigned byte)
{
    uint32_t code = 0x100;
    if (is_shown(byte))
        return byte;
    for (unsigned b = 0; b < byte; b++)
        code += !is_shown(b);
    return code;
}

/* Byte of a character, or -1. */
static int
byte_of_code(uint32_t code)
{
    if (code < 0x100)
        return is_shown(code) ? (int)code : -1;
    if (code < 0x121)
        return (int)(code - 0x100);
    if (code < 0x143)
        return (int)(code - 0x121 + 0x7f);
    return code == 0x143 ? 0xad : -1;
}

int
mete__byte_names(mete_buffer *out, mete_text bytes)
{
    for (size_t i = 0; i < bytes.length; i++)
        mete_buffer_code(out, code_of_byte((unsigned char)bytes.data[i]));
    return out->status;
}

int
mete__byte_values(mete_buffer *out, mete_text name)
{
    size_t before = out->length;
    for (size_t at = 0; at < name.length;) {
        int byte = byte_of_code(mete_utf8_next(name, &at));
        if (byte < 0) {
            out->length = before;
            return 0;
        }
        if (mete_buffer_byte(out, (char)byte))
            return out->status;
    }
    return 1;
}

/* ---- tokens ---------------------------------------------------------------------------------- */

static int
no_memory(mete_error *err)
{
    return mete_error_set(err, METE_ENOMEM, "out of memory for a tokeniser");
}

mete_tokeniser *
mete__tokeniser_new(mete_error *err)
{
    static atomic_uint_fast64_t made;
    mete_tokeniser *t = calloc(1, sizeof *t);
    if (!t) {
        no_memory(err);
        return NULL;
    }
    t->serial = atomic_fetch_add(&made, 1) + 1;
    t->unknown = -1;
    t->most = METE_TOKENS_MOST;
    return t;
}

void
mete_tokeniser_free(mete_tokeniser *t)
{
    if (!t)
        return;
    mete_buffer_free(&t->names);
    mete_buffer_free(&t->bytes);
    free(t->token);
    free(t->name_slot);
    free(t->length);
    free(t->merge);
    free(t->pair);
    free(t->added);
    free(t->trie[0].node);
    free(t->trie[1].node);
    free(t->around.id);
    for (size_t i = 0; i < sizeof t->pattern / sizeof *t->pattern; i++)
        pcre2_code_free(t->pattern[i]);
    pcre2_code_free(t->word);
    free(t);
}

mete_text
mete__token_name(const mete_tokeniser *t, uint32_t id)
{
    const mete__token *token = &t->token[id];
    return (mete_text){t->names.data ? t->names.data + token->name : "", token->name_length};
}

static size_t
slot_of(const mete_tokeniser *t, mete_text name)
{
    size_t at = (size_t)mete_hash(0, name.data, name.length) & (t->name_slots - 1);
    while (t->name_slot[at] && !mete_text_equal(mete__token_name(t, t->name_slot[at] - 1), name))
        at = (at + 1) & (t->name_slots - 1);
    return at;
}

int32_t
mete__token_find(const mete_tokeniser *t, mete_text name)
{
    return t->name_slots ? (int32_t)t->name_slot[slot_of(t, name)] - 1 : -1;
}

static int
grow_names(mete_tokeniser *t)
{
    size_t slots = t->name_slots ? 2 * t->name_slots : 1024;
    uint32_t *table = calloc(slots, sizeof *table);
    if (!table)
        return -1;
    free(t->name_slot);
    t->name_slot = table;
    t->name_slots = slots;
    for (size_t i = 0; i < t->size; i++)
        if (t->token[i].known)
            t->name_slot[slot_of(t, mete__token_name(t, (uint32_t)i))] = (uint32_t)i + 1;
    return 0;
}

/* Makes room for token `id`. */
static int
reach(mete_tokeniser *t, uint32_t id)
{
    if (id >= t->room) {
        size_t room = t->room ? t->room : 512;
        while (room <= id)
            room *= 2;
        mete__token *token = realloc(t->token, room * sizeof *token);
        if (!token)
            return -1;
        memset(token + t->room, 0, (room - t->room) * sizeof *token);
        t->token = token;
        t->room = room;
    }
    if (id >= t->size)
        t->size = id + 1;
    return 0;
}

/* How a message shows a name: not all of a long one. */
static mete_text
shown(mete_text name)
{
    return mete_text_slice(name, 0, mete_utf8_floor(name, 60));
}

/* Defines token `id`; its bytes have been appended to the pool. `slots` are checked by the caller's
 * growth: a quarter of the room of the numbers at most is in use. */
static int
define(mete_tokeniser *t, uint32_t id, mete_text name, size_t bytes, mete_error *err)
{
    mete_text brief = shown(name);
    if (id >= t->most)
        return mete_error_set(err, METE_EDATA,
                              "token \"%.*s\" has number %u; of so many tokens the greatest "
                              "allowed is %u",
                              (int)brief.length, brief.data, id, t->most - 1);
    if (id < t->size && t->token[id].known) {
        mete_text other = shown(mete__token_name(t, id));
        return mete_error_set(err, METE_EDATA, "tokens \"%.*s\" and \"%.*s\" both have number %u",
                              (int)other.length, other.data, (int)brief.length, brief.data, id);
    }
    if (reach(t, id) || ((2 * t->size > t->name_slots) && grow_names(t)))
        return no_memory(err);
    size_t slot = slot_of(t, name);
    if (t->name_slot[slot])
        return mete_error_set(err, METE_EDATA, "token \"%.*s\" has numbers %u and %u",
                              (int)brief.length, brief.data, t->name_slot[slot] - 1, id);
    t->token[id] = (mete__token){.name = t->names.length,
                                 .name_length = (uint32_t)name.length,
                                 .bytes = bytes,
                                 .length = (uint32_t)(t->bytes.length - bytes),
                                 .known = true};
    t->name_slot[slot] = id + 1;
    return mete_buffer_text(&t->names, name) ? no_memory(err) : METE_OK;
}

int
mete__token_add(mete_tokeniser *t, uint32_t id, mete_text name, mete_error *err)
{
    size_t bytes = t->bytes.length;
    int spelt = mete__byte_values(&t->bytes, name);
    if (spelt == 0)
        spelt = mete_buffer_text(&t->bytes, name);
    return spelt < 0 ? no_memory(err) : define(t, id, name, bytes, err);
}

int
mete__token_add_bytes(mete_tokeniser *t, uint32_t id, mete_text value, mete_error *err)
{
    mete_buffer name = {0};
    size_t bytes = t->bytes.length;
    int status = mete__byte_names(&name, value) || mete_buffer_text(&t->bytes, value)
                     ? no_memory(err)
                     : define(t, id, mete_buffer_view(&name), bytes, err);
    mete_buffer_free(&name);
    return status;
}

int
mete__merge_add(mete_tokeniser *t, uint32_t left, uint32_t right, uint32_t made, mete_error *err)
{
    if (t->merges == t->merge_room) {
        size_t room = t->merge_room ? 2 * t->merge_room : 1024;
        mete__merge *merge = realloc(t->merge, room * sizeof *merge);
        if (!merge)
            return no_memory(err);
        t->merge = merge;
        t->merge_room = room;
    }
    t->merge[t->merges++] = (mete__merge){left, right, made};
    return METE_OK;
}

/* ---- added tokens ---------------------------------------------------------------------------- */

mete_text
mete__added_text(const mete_tokeniser *t, const mete__added *added)
{
    return mete__token_name(t, added->id);
}

static uint32_t
child_of(const mete__trie *trie, uint32_t node, unsigned char byte)
{
    uint32_t at = trie->node[node].child;
    while (at && trie->node[at].byte != byte)
        at = trie->node[at].sibling;
    return at;
}

static int
trie_add(mete__trie *trie, mete_text content, uint32_t added)
{
    size_t most = trie->nodes + content.length + 1;
    if (most > trie->room) {
        mete__node *node = realloc(trie->node, 2 * most * sizeof *node);
        if (!node)
            return -1;
        trie->node = node;
        trie->room = 2 * most;
    }
    if (!trie->nodes)
        trie->node[trie->nodes++] = (mete__node){0};
    uint32_t at = 0;
    for (size_t i = 0; i < content.length; i++) {
        unsigned char byte = (unsigned char)content.data[i];
        uint32_t next = child_of(trie, at, byte);
        if (!next) {
            next = (uint32_t)trie->nodes++;
            trie->node[next] = (mete__node){.byte = byte, .sibling = trie->node[at].child};
            trie->node[at].child = next;
        }
        at = next;
    }
    trie->node[at].added = added + 1;
    trie->first[(unsigned char)content.data[0]] = 1;
    return 0;
}

int
mete__added_add(mete_tokeniser *t, mete_text content, mete__added added, mete_error *err)
{
    int32_t same = mete__token_find(t, content);
    mete_text brief = shown(content);
    if (!content.length || content.length > METE__SPECIAL_MOST)
        return mete_error_set(err, METE_EDATA,
                              "an added token has %zu bytes; from 1 to %d are allowed",
                              content.length, METE__SPECIAL_MOST);
    if (mete_utf8_check(content) != content.length)
        return mete_error_set(err, METE_EDATA, "an added token is not UTF-8");
    if (t->addeds >= METE__ADDED_MOST)
        return mete_error_set(err, METE_EDATA, "more than %d added tokens", METE__ADDED_MOST);
    if (same >= 0 && t->token[same].added)
        return mete_error_set(err, METE_EDATA, "added token \"%.*s\" is there twice",
                              (int)brief.length, brief.data);
    if (same >= 0 && (uint32_t)same != added.id)
        return mete_error_set(err, METE_EDATA,
                              "added token \"%.*s\" has number %u, the vocabulary says %d",
                              (int)brief.length, brief.data, added.id, same);
    if (t->addeds % 64 == 0) {
        mete__added *grown = realloc(t->added, (t->addeds + 64) * sizeof *grown);
        if (!grown)
            return no_memory(err);
        t->added = grown;
    }
    /* Its bytes are what is written, whatever the byte alphabet would make of them. */
    size_t bytes = t->bytes.length;
    if (mete_buffer_text(&t->bytes, content))
        return no_memory(err);
    if (same < 0) {
        int status = define(t, added.id, content, bytes, err);
        if (status)
            return status;
        t->token[added.id].outside = true;
    }
    mete__token *token = &t->token[added.id];
    token->bytes = bytes;
    token->length = (uint32_t)content.length;
    token->added = true;
    token->special = added.special;
    t->added[t->addeds] = added;
    return trie_add(&t->trie[added.normalized], content, (uint32_t)t->addeds++) ? no_memory(err)
                                                                                : METE_OK;
}

/* ---- tables ---------------------------------------------------------------------------------- */

static int
make_pairs(mete_tokeniser *t)
{
    t->pairs = 16;
    while (t->pairs < 2 * t->merges)
        t->pairs *= 2;
    free(t->pair);
    t->pair = calloc(t->pairs, sizeof *t->pair);
    if (!t->pair)
        return -1;
    for (size_t i = 0; i < t->merges; i++) {
        uint64_t key = ((uint64_t)t->merge[i].left << 32 | t->merge[i].right) + 1;
        size_t at = (size_t)mete__pair_hash(key) & (t->pairs - 1);
        while (t->pair[at].key && t->pair[at].key != key)
            at = (at + 1) & (t->pairs - 1);
        /* Of a pair that is there twice the later rank holds, as in the reference. */
        t->pair[at] = (mete__pair){key, (uint32_t)i, t->merge[i].made};
    }
    return 0;
}

int
mete__tokeniser_finish(mete_tokeniser *t, mete_error *err)
{
    mete_buffer name = {0};
    int missing = -1;
    free(t->length);
    t->length = calloc(t->size + 1, sizeof *t->length);
    if (!t->length || make_pairs(t))
        return no_memory(err);
    for (size_t i = 0; i < t->size; i++)
        t->length[i] = t->token[i].length;
    for (int b = 255; b >= 0; b--) {
        char byte = (char)b;
        mete_buffer_clear(&name);
        if (mete__byte_names(&name, (mete_text){&byte, 1}))
            break;
        t->byte[b] = mete__token_find(t, mete_buffer_view(&name));
        missing = t->byte[b] < 0 ? b : missing;
    }
    int status = name.status;
    mete_buffer_free(&name);
    if (status)
        return no_memory(err);
    t->whole = missing < 0;
    if (t->words)
        return mete__split_compile(t, err);
    if (!t->whole && t->unknown < 0)
        return mete_error_set(err, METE_ENOTSUP,
                              "model.vocab has no token for byte 0x%02x, and there is no unk_token",
                              (unsigned)missing);
    if (!t->whole && t->byte_fallback)
        return mete_error_set(err, METE_ENOTSUP,
                              "model.byte_fallback is true, but model.vocab has no token for byte "
                              "0x%02x: tokens of the form <0x..> are not read",
                              (unsigned)missing);
    return mete__split_compile(t, err);
}

/* ---- asking and decoding --------------------------------------------------------------------- */

mete_tokeniser *
mete_tokeniser_bytes(const char *const *special, size_t specials, mete_error *err)
{
    mete_tokeniser *t = mete__tokeniser_new(err);
    int status = t ? METE_OK : METE_ENOMEM;
    for (unsigned b = 0; b < 256 && !status; b++) {
        char byte = (char)b;
        status = mete__token_add_bytes(t, b, (mete_text){&byte, 1}, err);
    }
    for (size_t k = 0; k < specials && !status; k++)
        status = mete__added_add(t, mete_text_from(special[k]),
                                 (mete__added){.id = (uint32_t)(256 + k), .special = true}, err);
    if (!status) {
        t->step[t->steps++] = (mete__step){.byte_level = true, .trim_offsets = true};
        status = mete__tokeniser_finish(t, err);
    }
    if (!status)
        return t;
    mete_tokeniser_free(t);
    return NULL;
}

size_t
mete_tokeniser_size(const mete_tokeniser *t)
{
    return t->size;
}

int32_t
mete_tokeniser_special(const mete_tokeniser *t, mete_text text)
{
    int32_t id = mete__token_find(t, text);
    return id >= 0 && t->token[id].added ? id : -1;
}

int
mete_tokeniser_is_special(const mete_tokeniser *t, int32_t id)
{
    return id >= 0 && (size_t)id < t->size && t->token[id].special;
}

mete_text
mete_tokeniser_token(const mete_tokeniser *t, int32_t id)
{
    if (id < 0 || (size_t)id >= t->size || !t->token[id].known)
        return (mete_text){NULL, 0};
    return (mete_text){t->bytes.data ? t->bytes.data + t->token[id].bytes : "",
                       t->token[id].length};
}

int
mete_tokeniser_decode(const mete_tokeniser *t, const int32_t *id, size_t count, unsigned flags,
                      mete_buffer *out, mete_error *err)
{
    size_t before = out->length;
    for (size_t i = 0; i < count; i++) {
        mete_text bytes = mete_tokeniser_token(t, id[i]);
        if (!bytes.data) {
            out->length = before;
            return mete_error_set(err, METE_EDATA, "%d is no token; there are %zu", id[i], t->size);
        }
        if ((flags & METE_DECODE_SKIP_SPECIALS) && t->token[id[i]].special)
            continue;
        if (mete_buffer_text(out, bytes)) {
            int status = out->status;
            out->length = before;
            return mete_error_set(err, status, "no room for the text of %zu tokens", count);
        }
    }
    return METE_OK;
}
