/* token_train.c - learns the merges of byte-level BPE from texts (Sennrich et al. 2016), or the
 * most frequent words.
 *
 * Pieces are counted once, so a step costs what changes: the words that hold the merged pair. A
 * heap gives the most frequent pair; its counts go stale and are corrected when they come up: a
 * count only falls after its entry was made. An entry owns the words its pair was met in when the
 * entry was made, as in the reference, whose merges these are one by one.
 */
#include "text/token.h"

#include <stdlib.h>

#include <mete/random.h>

#define NONE UINT32_MAX

struct word {
    size_t bytes, first; /* where its bytes and its tokens begin */
    uint32_t length, tokens;
    uint64_t count;
};

struct pair {
    uint32_t left, right;
    int64_t count;
    uint32_t entry; /* being made in this step, or NONE */
};

struct entry {
    uint32_t pair;
    uint64_t count; /* when it was made or last corrected */
    uint32_t *word; /* where the pair was met */
    size_t words, room;
};

struct trainer {
    mete_tokeniser *t;
    mete_error *err;
    struct word *word;
    size_t words, word_room;
    mete_buffer bytes;
    uint32_t *slot; /* [slots] word number + 1 by its bytes */
    size_t slots;
    uint32_t *token; /* of all words */
    struct pair *pair;
    size_t pairs, pair_room;
    uint32_t *pair_slot; /* [pair_slots] pair number + 1 */
    size_t pair_slots;
    struct entry *entry;
    size_t entries, entry_room;
    uint32_t *free_entry;
    size_t free_entries, free_room;
    uint32_t *heap; /* entry numbers */
    size_t heaped, heap_room;
    uint32_t *fresh; /* entries made in this step */
    size_t fresh_count, fresh_room;
};

static int
no_memory(struct trainer *tr)
{
    return mete_error_set(tr->err, METE_ENOMEM, "out of memory for training a tokeniser");
}

/* Room for one more element in an array that doubles. */
static int
grow(void *array, size_t count, size_t *room, size_t element)
{
    void *old, *grown;
    if (count < *room)
        return 0;
    size_t wanted = *room ? 2 * *room : 256;
    memcpy(&old, array, sizeof old);
    grown = realloc(old, wanted * element);
    if (!grown)
        return -1;
    memcpy(array, &grown, sizeof grown);
    *room = wanted;
    return 0;
}

/* ---- words ----------------------------------------------------------------------------------- */

static mete_text
word_text(const struct trainer *tr, const struct word *word)
{
    return (mete_text){tr->bytes.data + word->bytes, word->length};
}

static size_t
word_slot(const struct trainer *tr, mete_text text)
{
    size_t at = (size_t)mete_hash(0, text.data, text.length) & (tr->slots - 1);
    while (tr->slot[at] && !mete_text_equal(word_text(tr, &tr->word[tr->slot[at] - 1]), text))
        at = (at + 1) & (tr->slots - 1);
    return at;
}

static int
rehash_words(struct trainer *tr)
{
    size_t slots = tr->slots ? 2 * tr->slots : 4096;
    uint32_t *slot = calloc(slots, sizeof *slot);
    if (!slot)
        return -1;
    free(tr->slot);
    tr->slot = slot;
    tr->slots = slots;
    for (size_t i = 0; i < tr->words; i++)
        tr->slot[word_slot(tr, word_text(tr, &tr->word[i]))] = (uint32_t)i + 1;
    return 0;
}

static int
count_word(struct trainer *tr, mete_text text)
{
    if (2 * (tr->words + 1) > tr->slots && rehash_words(tr))
        return no_memory(tr);
    size_t at = word_slot(tr, text);
    if (!tr->slot[at]) {
        if (tr->words >= UINT32_MAX - 1 || text.length >= UINT32_MAX ||
            grow(&tr->word, tr->words, &tr->word_room, sizeof *tr->word))
            return no_memory(tr);
        tr->word[tr->words] =
            (struct word){.bytes = tr->bytes.length, .length = (uint32_t)text.length};
        if (mete_buffer_text(&tr->bytes, text))
            return no_memory(tr);
        tr->slot[at] = (uint32_t)++tr->words;
    }
    tr->word[tr->slot[at] - 1].count++;
    return METE_OK;
}

static int
count_text(struct trainer *tr, mete__matcher *matcher, mete_text text)
{
    mete_split split = tr->t->step[0].split;
    for (size_t at = 0; at < text.length;) {
        mete_text good = mete_text_slice(text, at, text.length);
        good.length = mete_utf8_check(good);
        for (size_t from = 0; from < good.length;) {
            size_t to = mete__split_next(tr->t, matcher, split, good, from, tr->err);
            if (to == SIZE_MAX)
                return METE_EDATA;
            int status = count_word(tr, mete_text_slice(good, from, to));
            if (status)
                return status;
            from = to;
        }
        at += good.length + 1; /* a byte that is no UTF-8 takes part in no merge */
    }
    return METE_OK;
}

/* ---- pairs and their entries ----------------------------------------------------------------- */

static size_t
pair_slot(const struct trainer *tr, uint32_t left, uint32_t right)
{
    size_t at = (size_t)mete__pair_hash((uint64_t)left << 32 | right) & (tr->pair_slots - 1);
    for (; tr->pair_slot[at]; at = (at + 1) & (tr->pair_slots - 1)) {
        const struct pair *pair = &tr->pair[tr->pair_slot[at] - 1];
        if (pair->left == left && pair->right == right)
            break;
    }
    return at;
}

static int
rehash_pairs(struct trainer *tr)
{
    size_t slots = tr->pair_slots ? 2 * tr->pair_slots : 4096;
    uint32_t *slot = calloc(slots, sizeof *slot);
    if (!slot)
        return -1;
    free(tr->pair_slot);
    tr->pair_slot = slot;
    tr->pair_slots = slots;
    for (size_t i = 0; i < tr->pairs; i++)
        tr->pair_slot[pair_slot(tr, tr->pair[i].left, tr->pair[i].right)] = (uint32_t)i + 1;
    return 0;
}

/* Number of a pair, made when it is new; NONE when out of memory. */
static uint32_t
pair_of(struct trainer *tr, uint32_t left, uint32_t right)
{
    if (2 * (tr->pairs + 1) > tr->pair_slots && rehash_pairs(tr))
        return NONE;
    size_t at = pair_slot(tr, left, right);
    if (!tr->pair_slot[at]) {
        if (grow(&tr->pair, tr->pairs, &tr->pair_room, sizeof *tr->pair))
            return NONE;
        tr->pair[tr->pairs] = (struct pair){left, right, 0, NONE};
        tr->pair_slot[at] = (uint32_t)++tr->pairs;
    }
    return tr->pair_slot[at] - 1;
}

/* The entry a pair gets in this step. */
static struct entry *
entry_of(struct trainer *tr, uint32_t number)
{
    struct pair *pair = &tr->pair[number];
    if (pair->entry == NONE) {
        if (tr->free_entries) {
            pair->entry = tr->free_entry[--tr->free_entries];
        } else {
            if (grow(&tr->entry, tr->entries, &tr->entry_room, sizeof *tr->entry))
                return NULL;
            pair->entry = (uint32_t)tr->entries;
            tr->entry[tr->entries++] = (struct entry){0};
        }
        struct entry *made = &tr->entry[pair->entry];
        made->pair = number;
        made->words = 0;
        if (grow(&tr->fresh, tr->fresh_count, &tr->fresh_room, sizeof *tr->fresh))
            return NULL;
        tr->fresh[tr->fresh_count++] = pair->entry;
    }
    return &tr->entry[pair->entry];
}

/* A pair is met `by` times more or less in words like `word`. */
static int
change(struct trainer *tr, uint32_t left, uint32_t right, int64_t by, uint32_t word)
{
    uint32_t number = pair_of(tr, left, right);
    if (number == NONE)
        return no_memory(tr);
    tr->pair[number].count += by * (int64_t)tr->word[word].count;
    if (by < 0)
        return METE_OK;
    struct entry *entry = entry_of(tr, number);
    if (!entry)
        return no_memory(tr);
    if (entry->words && entry->word[entry->words - 1] == word)
        return METE_OK;
    if (grow(&entry->word, entry->words, &entry->room, sizeof *entry->word))
        return no_memory(tr);
    entry->word[entry->words++] = word;
    return METE_OK;
}

/* ---- the heap -------------------------------------------------------------------------------- */

/* More frequent first; of equals the smaller left, then right. */
static bool
before(const struct trainer *tr, uint32_t a, uint32_t b)
{
    const struct entry *x = &tr->entry[a], *y = &tr->entry[b];
    const struct pair *p = &tr->pair[x->pair], *q = &tr->pair[y->pair];
    if (x->count != y->count)
        return x->count > y->count;
    return p->left != q->left ? p->left < q->left : p->right < q->right;
}

static void
sift_down(struct trainer *tr, size_t at)
{
    uint32_t moved = tr->heap[at];
    for (size_t child; (child = 2 * at + 1) < tr->heaped; at = child) {
        if (child + 1 < tr->heaped && before(tr, tr->heap[child + 1], tr->heap[child]))
            child++;
        if (!before(tr, tr->heap[child], moved))
            break;
        tr->heap[at] = tr->heap[child];
    }
    tr->heap[at] = moved;
}

static int
push(struct trainer *tr, uint32_t entry)
{
    if (grow(&tr->heap, tr->heaped, &tr->heap_room, sizeof *tr->heap))
        return no_memory(tr);
    size_t at = tr->heaped++;
    for (; at > 0 && before(tr, entry, tr->heap[(at - 1) / 2]); at = (at - 1) / 2)
        tr->heap[at] = tr->heap[(at - 1) / 2];
    tr->heap[at] = entry;
    return METE_OK;
}

static void
pop(struct trainer *tr)
{
    tr->heap[0] = tr->heap[--tr->heaped];
    if (tr->heaped)
        sift_down(tr, 0);
}

static int
give_back(struct trainer *tr, uint32_t entry)
{
    if (grow(&tr->free_entry, tr->free_entries, &tr->free_room, sizeof *tr->free_entry))
        return no_memory(tr);
    tr->free_entry[tr->free_entries++] = entry;
    return METE_OK;
}

/* Entries made in this step go into the heap. */
static int
push_fresh(struct trainer *tr)
{
    int status = METE_OK;
    for (size_t i = 0; i < tr->fresh_count && !status; i++) {
        struct entry *entry = &tr->entry[tr->fresh[i]];
        struct pair *pair = &tr->pair[entry->pair];
        pair->entry = NONE;
        entry->count = pair->count > 0 ? (uint64_t)pair->count : 0;
        status = pair->count > 0 ? push(tr, tr->fresh[i]) : give_back(tr, tr->fresh[i]);
    }
    tr->fresh_count = 0;
    return status;
}

/* ---- learning -------------------------------------------------------------------------------- */

/* Bytes to tokens, and the pairs of all words counted. */
static int
start_words(struct trainer *tr)
{
    size_t at = 0;
    int status = METE_OK;
    tr->token = malloc((tr->bytes.length + 1) * sizeof *tr->token);
    if (!tr->token)
        return no_memory(tr);
    for (size_t w = 0; w < tr->words && !status; w++) {
        struct word *word = &tr->word[w];
        mete_text text = word_text(tr, word);
        word->first = at;
        word->tokens = word->length;
        for (size_t i = 0; i < text.length; i++)
            tr->token[at++] = (uint32_t)tr->t->byte[(unsigned char)text.data[i]];
        for (size_t i = 1; i < text.length && !status; i++)
            status = change(tr, tr->token[word->first + i - 1], tr->token[word->first + i], 1,
                            (uint32_t)w);
    }
    return status ? status : push_fresh(tr);
}

/* Merges a pair in one word from left to right, and counts the pairs this breaks and makes. */
static int
merge_word(struct trainer *tr, uint32_t number, uint32_t left, uint32_t right, uint32_t made)
{
    struct word *word = &tr->word[number];
    uint32_t *token = tr->token + word->first;
    size_t to = 0;
    int status = METE_OK;
    for (size_t from = 0; from < word->tokens; to++) {
        if (from + 1 == word->tokens || token[from] != left || token[from + 1] != right) {
            token[to] = token[from++];
            continue;
        }
        from += 2;
        token[to] = made;
        if (to > 0 && !status && !(status = change(tr, token[to - 1], left, -1, number)))
            status = change(tr, token[to - 1], made, 1, number);
        if (from < word->tokens && !status &&
            !(status = change(tr, right, token[from], -1, number)))
            status = change(tr, made, token[from], 1, number);
    }
    word->tokens = (uint32_t)to;
    return status;
}

/* The token a pair makes: a new one, or one that another pair made before. */
static int
make_token(struct trainer *tr, uint32_t left, uint32_t right, uint32_t *made)
{
    mete_buffer name = {0};
    mete_tokeniser *t = tr->t;
    mete_buffer_text(&name, mete__token_name(t, left));
    mete_buffer_text(&name, mete__token_name(t, right));
    int status = name.status ? no_memory(tr) : METE_OK;
    int32_t same = status ? -1 : mete__token_find(t, mete_buffer_view(&name));
    *made = same < 0 ? (uint32_t)t->size : (uint32_t)same;
    if (!status && same < 0)
        status = mete__token_add(t, *made, mete_buffer_view(&name), tr->err);
    mete_buffer_free(&name);
    return status ? status : mete__merge_add(t, left, right, *made, tr->err);
}

static int
learn(struct trainer *tr, const mete_token_plan *plan)
{
    uint64_t least = plan->least ? plan->least : 1;
    int status = METE_OK;
    while (tr->heaped && tr->t->size < plan->vocabulary && !status) {
        uint32_t top = tr->heap[0], made = 0;
        struct pair pair = tr->pair[tr->entry[top].pair];
        uint64_t count = pair.count > 0 ? (uint64_t)pair.count : 0;
        if (tr->entry[top].count != count) {
            tr->entry[top].count = count;
            sift_down(tr, 0);
            continue;
        }
        if (count < least)
            break;
        pop(tr);
        status = make_token(tr, pair.left, pair.right, &made);
        for (size_t i = 0; i < tr->entry[top].words && !status; i++)
            status = merge_word(tr, tr->entry[top].word[i], pair.left, pair.right, made);
        if (!status)
            status = push_fresh(tr);
        if (!status)
            status = give_back(tr, top);
    }
    return status;
}

/* ---- words as tokens ------------------------------------------------------------------------- */

struct spelt {
    uint64_t count;
    mete_text name; /* in the byte alphabet */
};

static int
by_count(const void *a, const void *b)
{
    const struct spelt *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    size_t least = x->name.length < y->name.length ? x->name.length : y->name.length;
    int order = memcmp(x->name.data, y->name.data, least);
    return order ? order : (x->name.length > y->name.length) - (x->name.length < y->name.length);
}

static int
take_words(struct trainer *tr, const mete_token_plan *plan)
{
    mete_buffer names = {0};
    struct spelt *all = calloc(tr->words + 1, sizeof *all);
    int status = all ? METE_OK : no_memory(tr);
    for (size_t i = 0; i < tr->words && !status; i++) {
        size_t from = names.length;
        if (mete__byte_names(&names, word_text(tr, &tr->word[i])))
            status = no_memory(tr);
        all[i] = (struct spelt){tr->word[i].count, {NULL, names.length - from}};
    }
    for (size_t i = 0, at = 0; i < tr->words && !status; at += all[i++].name.length)
        all[i].name.data = names.data + at;
    if (!status)
        qsort(all, tr->words, sizeof *all, by_count);
    for (size_t i = 0; i < tr->words && tr->t->size < plan->vocabulary && !status; i++) {
        if (all[i].count < plan->least)
            break;
        if (mete__token_find(tr->t, all[i].name) < 0)
            status = mete__token_add(tr->t, (uint32_t)tr->t->size, all[i].name, tr->err);
    }
    free(all);
    mete_buffer_free(&names);
    return status;
}

/* ---- the call -------------------------------------------------------------------------------- */

/* Specials, then the bytes as GPT-2 numbers them: in the order of their characters. */
static int
start_tokens(mete_tokeniser *t, const mete_token_plan *plan, mete_error *err)
{
    uint32_t next = 0;
    int status = METE_OK;
    for (size_t k = 0; k < plan->specials && !status; k++) {
        mete_text content = mete_text_from(plan->special[k]);
        if (mete__token_find(t, content) >= 0)
            return mete_error_set(err, METE_EINVAL, "special token \"%s\" is there twice",
                                  plan->special[k]);
        status = mete__added_add(t, content, (mete__added){.id = next, .special = true}, err);
        if (!status)
            t->token[next++].outside = false; /* the reference's trainer has it in the vocabulary */
    }
    for (uint32_t code = 0; code < 0x144 && !status && !t->words; code++) {
        mete_buffer name = {0}, byte = {0};
        mete_buffer_code(&name, code);
        if (mete__byte_values(&byte, mete_buffer_view(&name)) == 1) {
            int32_t there = mete__token_find(t, mete_buffer_view(&name));
            if (there < 0)
                status = mete__token_add(t, next++, mete_buffer_view(&name), err);
        }
        if (!status && (name.status || byte.status))
            status = mete_error_set(err, METE_ENOMEM, "out of memory for training a tokeniser");
        mete_buffer_free(&name);
        mete_buffer_free(&byte);
    }
    return status;
}

static void
trainer_free(struct trainer *tr)
{
    for (size_t i = 0; i < tr->entries; i++)
        free(tr->entry[i].word);
    free(tr->word);
    free(tr->slot);
    free(tr->token);
    free(tr->pair);
    free(tr->pair_slot);
    free(tr->entry);
    free(tr->free_entry);
    free(tr->heap);
    free(tr->fresh);
    mete_buffer_free(&tr->bytes);
}

static int
check_plan(const mete_token_plan *plan, mete_error *err)
{
    if (plan->size < sizeof *plan)
        return mete_error_set(err, METE_EINVAL, "mete_token_plan: size is %zu, not %zu", plan->size,
                              sizeof *plan);
    size_t bytes = plan->kind == METE_TOKENS_WORDS ? 0 : 256;
    if (plan->kind != METE_TOKENS_BPE && plan->kind != METE_TOKENS_WORDS)
        return mete_error_set(err, METE_EINVAL, "kind %d is none", (int)plan->kind);
    if (!bytes && plan->unknown >= plan->specials)
        return mete_error_set(err, METE_EINVAL,
                              "words want one of the special tokens for what is unknown");
    if (plan->vocabulary < bytes + plan->specials || plan->vocabulary > METE_TOKENS_MOST)
        return mete_error_set(
            err, METE_EINVAL, "a vocabulary of %zu; it is from %zu (%sspecials) to %d",
            plan->vocabulary, bytes + plan->specials, bytes ? "bytes and " : "", METE_TOKENS_MOST);
    if (plan->split < METE_SPLIT_NONE || plan->split > METE_SPLIT_QWEN2)
        return mete_error_set(err, METE_EINVAL, "split %d is none", (int)plan->split);
    return METE_OK;
}

mete_tokeniser *
mete_tokeniser_train(const mete_text *text, size_t texts, const mete_token_plan *plan,
                     mete_error *err)
{
    struct trainer tr = {.err = err};
    mete__matcher matcher = {0};
    int status = check_plan(plan, err);
    if (status || !(tr.t = mete__tokeniser_new(err)))
        return NULL;
    /* Llama's and Qwen's files cut by Split first and let ByteLevel only spell the bytes. */
    if (plan->split > METE_SPLIT_GPT2)
        tr.t->step[tr.t->steps++] = (mete__step){.split = plan->split};
    tr.t->step[tr.t->steps++] =
        (mete__step){.byte_level = true,
                     .trim_offsets = true,
                     .split = plan->split == METE_SPLIT_GPT2 ? METE_SPLIT_GPT2 : METE_SPLIT_NONE};
    tr.t->words = plan->kind == METE_TOKENS_WORDS;
    status = start_tokens(tr.t, plan, err);
    if (tr.t->words)
        tr.t->unknown = (int32_t)plan->unknown;
    if (!status)
        status = mete__tokeniser_finish(tr.t, err);
    if (!status)
        status = mete__matcher_open(&matcher, err);
    for (size_t i = 0; i < texts && !status; i++)
        status = count_text(&tr, &matcher, text[i]);
    if (!status && tr.t->words)
        status = take_words(&tr, plan);
    else if (!status && !(status = start_words(&tr)))
        status = learn(&tr, plan);
    mete__matcher_close(&matcher);
    trainer_free(&tr);
    if (!status) /* the tables again, with what was learnt */
        status = mete__tokeniser_finish(tr.t, err);
    if (!status)
        return tr.t;
    mete_tokeniser_free(tr.t);
    return NULL;
}
