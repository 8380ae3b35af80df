/* retrieve - criteria of the most similar cases of a bank, merged: the retrieval of ORBIT
 * ("InfiMed-ORBIT", 2025, arXiv:2510.15859), with merging where it has a model write.
 *
 * Two rankings of the cases by similarity of prompts:
 *   BM25    sum over the prompt's words of idf * tf (k1 + 1) / (tf + k1 (1 - b + b length / mean))
 *           with idf = ln(1 + (N - n + 1/2) / (n + 1/2)), n of N cases holding the word
 *           (Robertson and Zaragoza 2009; this idf is never negative)
 *   dense   cosine of counts of 3- and 4-grams of characters, hashed with signs into `size` numbers
 *           (Weinberger et al. 2009), each times ln(1 + N / n), n of N cases having it not 0
 * are fused by reciprocal ranks, sum of weight / (60 + rank) (Cormack, Clarke and Buettcher 2009);
 * a case with nothing in common (for dense: but for collisions) has no rank. A criterion's support
 * is the sum of the values of the cases that hold it. Those that say the same are one, with the
 * mean of their points weighted by support; a fault and a merit never are, as they may differ by a
 * "not" alone. The `most` of the greatest support are the prompt's.
 */
#include "criteria.h"

#include <stdio.h>
#include <stdlib.h>

#define RANK_OFFSET 60
/* Bounds on what is merged, which compares all pairs. */
#define MOST_CASES 20
#define MOST_OF_A_CASE 200 /* criteria */

struct posting {
    uint64_t word;
    uint32_t row, count;
};

struct ranked {
    double value;
    uint32_t row;
};

struct retrieve {
    const mete_table *bank;
    int64_t cases, most, size;
    double dense, k1, b, same;
    const mete_text *prompt, *rubrics;
    struct posting *posting; /* by word, then row */
    size_t postings;
    uint32_t *length; /* [rows] words of each case's prompt */
    double mean_length;
    float *vector; /* [rows x size] of length 1, or 0 */
    float *rarity; /* [size] ln(1 + N / n) */
};

static const mete_option options[] = {
    METE_DATA(struct retrieve, bank, METE_REQUIRED,
              "the cases: JSONL of prompt and rubrics, a list as in HealthBench"),
    METE_INT(struct retrieve, cases, 4, 1, MOST_CASES, "cases whose criteria are merged"),
    METE_INT(struct retrieve, most, 12, 1, 1000, "criteria kept of each prompt"),
    METE_REAL(struct retrieve, dense, 0.5, 0, 1, "weight of the dense ranking; the rest is BM25's"),
    METE_REAL(struct retrieve, k1, 1.2, 0, 100, "BM25: how slowly repeats of a word saturate"),
    METE_REAL(struct retrieve, b, 0.75, 0, 1, "BM25: how much long cases are discounted"),
    METE_INT(struct retrieve, size, 1024, 16, 4096, "numbers of a dense vector"),
    METE_REAL(struct retrieve, same, 0.9, 0, 1, "cosine from which two criteria are one"),
    METE_OPTIONS_END};

static int
by_hash(const void *a, const void *b)
{
    const struct posting *x = a, *y = b;
    if (x->word != y->word)
        return x->word < y->word ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* The greatest value first, then the first row. */
static int
by_value(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->value != y->value)
        return x->value > y->value ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static double
dot(const float *a, const float *b, size_t size)
{
    double sum = 0;
    for (size_t i = 0; i < size; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

static void
scale_to_one(float *vector, size_t size)
{
    double norm = sqrt(dot(vector, vector, size));
    for (size_t i = 0; i < size && norm > 0; i++)
        vector[i] = (float)(vector[i] / norm);
}

/* Adds the signed counts of the text's n-grams of characters to `vector`. */
static int
embed(mete_ctx *cx, mete_text text, float *vector, size_t size)
{
    mete_buffer lower = {0}, scratch = {0};
    int status = mete_lower(text, &lower);
    size_t room = lower.length + 1;
    if (!status)
        status = mete_buffer_reserve(&scratch, 2 * room * sizeof(uint64_t));
    if (!status) {
        uint64_t *code = (uint64_t *)(void *)scratch.data, *gram = code + room;
        size_t codes = mete_codes(mete_buffer_view(&lower), code, room);
        for (size_t n = 3; n <= 4; n++) {
            size_t grams = mete_ngrams(code, codes, n, gram);
            for (size_t i = 0; i < grams; i++) {
                uint64_t hash = mete_mix64(gram[i] + n);
                vector[(hash >> 1) % size] += hash & 1 ? 1 : -1;
            }
        }
    }
    mete_buffer_free(&lower);
    mete_buffer_free(&scratch);
    return status ? mete_fail(cx, METE_ENOMEM, "out of memory") : METE_OK;
}

/* Weighs the counts of a prompt. */
static void
weigh(const struct retrieve *p, float *vector)
{
    for (size_t i = 0; i < (size_t)p->size; i++)
        vector[i] *= p->rarity[i];
    scale_to_one(vector, (size_t)p->size);
}

static int
open_vectors(mete_ctx *cx, struct retrieve *p)
{
    size_t rows = p->bank->rows, size = (size_t)p->size;
    p->vector = mete_alloc(cx, (rows * size + 1) * sizeof *p->vector);
    p->rarity = mete_alloc(cx, size * sizeof *p->rarity);
    if (!p->vector || !p->rarity)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu cases", rows);
    for (size_t i = 0; i < rows; i++) {
        float *vector = p->vector + i * size;
        if (embed(cx, p->prompt[i], vector, size))
            return METE_ENOMEM;
        for (size_t k = 0; k < size; k++)
            p->rarity[k] += vector[k] != 0;
    }
    for (size_t k = 0; k < size; k++)
        p->rarity[k] = p->rarity[k] > 0 ? log1pf((float)rows / p->rarity[k]) : 0;
    for (size_t i = 0; i < rows; i++)
        weigh(p, p->vector + i * size);
    return METE_OK;
}

static int
open_words(mete_ctx *cx, struct retrieve *p)
{
    size_t rows = p->bank->rows, total = 0, longest = 0;
    p->length = mete_alloc(cx, (rows + 1) * sizeof *p->length);
    for (size_t i = 0; p->length && i < rows; i++) {
        p->length[i] = (uint32_t)mete_words(p->prompt[i], 0, NULL, 0);
        total += p->length[i];
        longest = p->length[i] > longest ? p->length[i] : longest;
    }
    uint64_t *word = mete_arena(cx, (longest + 1) * sizeof *word);
    p->posting = mete_alloc(cx, (total + 1) * sizeof *p->posting);
    if (!p->length || !p->posting || !word)
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu cases", rows);
    p->mean_length = rows ? (double)total / (double)rows : 0;
    for (size_t i = 0; i < rows; i++) {
        size_t words = mete_words(p->prompt[i], 0, word, longest);
        mete_hashes_sort(word, words);
        for (size_t k = 0; k < words; k++) {
            if (!k || word[k] != word[k - 1])
                p->posting[p->postings++] = (struct posting){word[k], (uint32_t)i, 0};
            p->posting[p->postings - 1].count++;
        }
    }
    qsort(p->posting, p->postings, sizeof *p->posting, by_hash);
    return METE_OK;
}

/* Are the criteria of the bank's row in order? */
static int
check_case(mete_ctx *cx, const struct retrieve *p, size_t row)
{
    char where[300];
    snprintf(where, sizeof where, "%.250s:%llu: ", p->bank->file,
             (unsigned long long)p->bank->line[row]);
    if (!p->prompt || !p->prompt[row].data || !p->rubrics || !p->rubrics[row].data)
        return mete_fail(cx, METE_EDATA, "%sa case needs `prompt` and `rubrics`", where);
    mete_json *list = criteria_parse(cx, p->rubrics[row], where);
    int status = list ? METE_OK : METE_EDATA;
    if (mete_json_kind(list) == METE_JSON_OBJECT)
        status = mete_fail(cx, METE_EDATA, "%sa case's criteria are a list", where);
    if (!status && mete_json_count(list) > MOST_OF_A_CASE)
        status =
            mete_fail(cx, METE_EDATA, "%sa case has more than %d criteria", where, MOST_OF_A_CASE);
    for (const mete_json *at = mete_json_first(list); at && !status; at = mete_json_next(at)) {
        mete_criterion criterion;
        status = criterion_read(cx, at, where, &criterion);
        if (!status && criterion.kind == METE_CRITERION_PARTS)
            status = mete_fail(cx, METE_EDATA, "%sa case's criteria have no parts", where);
    }
    mete_json_free(list);
    return status;
}

static int
open_retrieve(mete_ctx *cx, void *self)
{
    struct retrieve *p = self;
    int status = METE_OK;
    p->prompt = mete_table_text(p->bank, "prompt");
    p->rubrics = mete_table_text(p->bank, "rubrics");
    for (size_t i = 0; i < p->bank->rows && !status; i++)
        status = check_case(cx, p, i);
    if (!status)
        status = open_words(cx, p);
    return status ? status : open_vectors(cx, p);
}

/* Adds the BM25 value of each case for one word of a prompt. */
static void
add_word(const struct retrieve *p, uint64_t word, struct ranked *ranked)
{
    size_t low = 0, high = p->postings, rows = p->bank->rows;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (p->posting[middle].word < word)
            low = middle + 1;
        else
            high = middle;
    }
    while (high < p->postings && p->posting[high].word == word)
        high++;
    double holding = (double)(high - low);
    double idf = log1p(((double)rows - holding + 0.5) / (holding + 0.5));
    for (; low < high; low++) {
        const struct posting *at = &p->posting[low];
        double tf = at->count, length = p->length[at->row] / p->mean_length;
        ranked[at->row].value += idf * tf * (p->k1 + 1) / (tf + p->k1 * (1 - p->b + p->b * length));
    }
}

static void
reset(struct ranked *ranked, size_t rows)
{
    for (size_t i = 0; i < rows; i++)
        ranked[i] = (struct ranked){0, (uint32_t)i};
}

/* Adds weight / (60 + rank) of every case of positive value. */
static void
fuse(struct ranked *ranked, size_t rows, double weight, struct ranked *fused)
{
    qsort(ranked, rows, sizeof *ranked, by_value);
    for (size_t i = 0; i < rows && ranked[i].value > 0; i++)
        fused[ranked[i].row].value += weight / (RANK_OFFSET + 1 + (double)i);
}

/* All cases by how near they are to the prompt; NULL when out of memory. */
static const struct ranked *
rank_cases(mete_ctx *cx, const struct retrieve *p, mete_text prompt)
{
    size_t rows = p->bank->rows, size = (size_t)p->size;
    size_t words = mete_words(prompt, 0, NULL, 0);
    uint64_t *word = mete_arena(cx, (words + 1) * sizeof *word);
    float *vector = mete_arena(cx, size * sizeof *vector);
    struct ranked *ranked = mete_arena(cx, (rows + 1) * sizeof *ranked);
    struct ranked *fused = mete_arena(cx, (rows + 1) * sizeof *fused);
    if (!word || !vector || !ranked || !fused || embed(cx, prompt, vector, size))
        return NULL;
    reset(fused, rows);
    reset(ranked, rows);
    mete_words(prompt, 0, word, words);
    for (size_t i = 0; i < words; i++)
        add_word(p, word[i], ranked);
    fuse(ranked, rows, 1 - p->dense, fused);
    reset(ranked, rows);
    weigh(p, vector);
    for (size_t i = 0; i < rows; i++)
        ranked[i].value = dot(vector, p->vector + i * size, size);
    fuse(ranked, rows, p->dense, fused);
    qsort(fused, rows, sizeof *fused, by_value);
    return fused;
}

struct candidate {
    mete_criterion criterion; /* points: the sum of points times support, until all are in */
    double support;
    const float *vector;
};

struct merged {
    struct candidate *item;
    size_t count, room;
};

static int
by_support(const void *a, const void *b)
{
    const struct candidate *x = *(const struct candidate *const *)a;
    const struct candidate *y = *(const struct candidate *const *)b;
    if (x->support != y->support)
        return x->support > y->support ? -1 : 1;
    return x < y ? -1 : x > y;
}

static int
says_the_same(const struct retrieve *p, const struct candidate *a, const struct candidate *b)
{
    const mete_criterion *x = &a->criterion, *y = &b->criterion;
    if (!mete_text_equal(x->check, y->check) || !mete_text_equal(x->target, y->target) ||
        x->scale != y->scale || (x->points < 0) != (y->points < 0))
        return 0;
    return mete_text_equal(x->text, y->text) ||
           dot(a->vector, b->vector, (size_t)p->size) >= p->same;
}

static int
merge(mete_ctx *cx, const struct retrieve *p, const mete_json *object, double value,
      struct merged *all)
{
    float *vector = mete_arena(cx, (size_t)p->size * sizeof *vector);
    struct candidate new = {.support = value, .vector = vector};
    int status = criterion_read(cx, object, "", &new.criterion);
    if (status || !vector)
        return status ? status : mete_fail(cx, METE_ENOMEM, "out of memory");
    if (embed(cx, new.criterion.text, vector, (size_t)p->size))
        return METE_ENOMEM;
    scale_to_one(vector, (size_t)p->size);
    new.criterion.points *= value;
    for (size_t i = 0; i < all->count; i++)
        if (says_the_same(p, &new, &all->item[i])) {
            all->item[i].support += value;
            all->item[i].criterion.points += new.criterion.points;
            return METE_OK;
        }
    new.criterion.source = mete_text_from("retrieve");
    all->item[all->count++] = new;
    return METE_OK;
}

static int
add_best(mete_ctx *cx, const struct retrieve *p, struct merged *all, mete_criteria *out, size_t row)
{
    struct candidate **order = mete_arena(cx, (all->count + 1) * sizeof(struct candidate *));
    if (!order)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t i = 0; i < all->count; i++) {
        order[i] = &all->item[i];
        order[i]->criterion.points /= order[i]->support;
    }
    qsort(order, all->count, sizeof(struct candidate *), by_support);
    int status = METE_OK;
    for (size_t i = 0; i < all->count && i < (size_t)p->most && !status; i++)
        status = mete_criterion_add(cx, out, row, &order[i]->criterion);
    return status;
}

static int
generate_row(mete_ctx *cx, const struct retrieve *p, mete_text prompt, mete_criteria *out,
             size_t row)
{
    const struct ranked *near = rank_cases(cx, p, prompt);
    mete_json *list[MOST_CASES];
    size_t lists = 0;
    struct merged all = {0};
    int status = near ? METE_OK : METE_ENOMEM;
    while (!status && lists < (size_t)p->cases && lists < p->bank->rows && near[lists].value > 0) {
        mete_json *found = criteria_parse(cx, p->rubrics[near[lists].row], "");
        if (!found) {
            status = METE_EDATA;
            break;
        }
        all.room += mete_json_count(found);
        list[lists++] = found;
    }
    all.item = mete_arena(cx, (all.room + 1) * sizeof *all.item);
    if (!status && !all.item)
        status = mete_fail(cx, METE_ENOMEM, "out of memory");
    for (size_t k = 0; k < lists && !status; k++)
        for (const mete_json *at = mete_json_first(list[k]); at && !status; at = mete_json_next(at))
            status = merge(cx, p, at, near[k].value, &all);
    if (!status)
        status = add_best(cx, p, &all, out, row);
    for (size_t k = 0; k < lists; k++)
        mete_json_free(list[k]);
    return status;
}

static int
generate(mete_ctx *cx, const void *self, const mete_batch *prompts, mete_criteria *out)
{
    int status = METE_OK;
    if (!prompts->prompt)
        return mete_fail(cx, METE_EDATA, "there is no prompt to retrieve by");
    for (size_t row = 0; row < prompts->episodes && !status; row++)
        status = generate_row(cx, self, prompts->prompt[row], out, row);
    return status;
}

METE_RUBRIC_PLUGIN(
    retrieve, "1.0", "criteria of the most similar cases of a bank, merged",
    .doc = "generator = { use = \"retrieve\"; bank = \"cases.jsonl\"; cases = 4; most = 12; };\n"
           "A line of the bank: {\"prompt\": \"...\", \"rubrics\": [{\"criterion\": \"Says when to "
           "see a doctor\", \"points\": 5}]}\n",
    .reference = "Wang et al. 2025, InfiMed-ORBIT, arXiv:2510.15859", .options = options,
    .state_size = sizeof(struct retrieve), .open = open_retrieve, .generate = generate);
