/* refine.c - new versions of a rubric: the generator is shown a scored batch with its criteria, and
 * says what they shall be from now on. What it gives a prompt is kept by prompt id; what it learnt
 * for all prompts is its own, so all that was merely generated is dropped and asked for again.
 */
#include "engine/context.h"
#include "run/checkpoint.h"

#include <stdlib.h>
#include <string.h>

bool
mete__can_refine(const mete_node *node)
{
    return node->plugin && node->kind == METE_KIND_RUBRIC && node->plugin->as.rubric.refine;
}

/* ---- a version as text ----------------------------------------------------------------------- */

static void
put_member(mete_buffer *out, const char *name, mete_text value)
{
    if (!value.length)
        return;
    mete_buffer_format(out, ", \"%s\": ", name);
    mete_json_put_text(out, value);
}

static void
put_criterion(mete_buffer *out, const mete_criterion *c)
{
    mete_buffer_string(out, "{\"criterion\": ");
    mete_json_put_text(out, c->text);
    mete_buffer_string(out, ", \"points\": ");
    mete_json_put_number(out, c->points);
    put_member(out, "check", c->check);
    put_member(out, "target", c->target);
    if (c->scale)
        mete_buffer_format(out, ", \"scale\": %d", (int)c->scale);
    put_member(out, "id", c->id);
    put_member(out, "source", c->source);
    mete_buffer_string(out, "}");
}

struct met {
    uint64_t prompt;
    size_t group;
};

static int
by_prompt(const void *a, const void *b)
{
    const struct met *x = a, *y = b;
    if (x->prompt != y->prompt)
        return x->prompt < y->prompt ? -1 : 1;
    return x->group < y->group ? -1 : x->group > y->group;
}

/* [groups] 1: the first group of its prompt; NULL: out of memory. */
static const uint8_t *
find_firsts(mete__arena *arena, const mete_batch *batch)
{
    struct met *met = mete__arena_take(arena, (batch->groups + 1) * sizeof *met);
    uint8_t *first = mete__arena_zero(arena, batch->groups + 1);
    if (!met || !first)
        return NULL;
    for (size_t g = 0; g < batch->groups; g++)
        met[g] = (struct met){batch->prompt_id[batch->group[g]], g};
    qsort(met, batch->groups, sizeof *met, by_prompt);
    for (size_t i = 0; i < batch->groups; i++)
        first[met[i].group] = !i || met[i].prompt != met[i - 1].prompt;
    return first;
}

/* A line a prompt, as a bank of the generator `retrieve`. */
static void
put_version(mete_buffer *out, const mete_batch *batch, const uint8_t *first,
            const mete_rubric_table *table)
{
    for (size_t g = 0; g < batch->groups; g++) {
        if (!first[g])
            continue;
        mete_buffer_string(out, "{\"prompt\": ");
        mete_json_put_text(out,
                           batch->prompt ? batch->prompt[batch->group[g]] : (mete_text){"", 0});
        mete_buffer_string(out, ", \"rubrics\": [");
        for (size_t k = table->first[g]; k < table->first[g + 1]; k++) {
            mete_buffer_string(out, k > table->first[g] ? ", " : "");
            put_criterion(out, &table->item[k]);
        }
        mete_buffer_string(out, "]}\n");
    }
}

/* ---- refining -------------------------------------------------------------------------------- */

static int
take_refined(mete_ctx *cx, const mete_batch *batch, mete_criteria *given)
{
    mete__node_private *private_ = cx->node->private_;
    int status = METE_OK;
    pthread_mutex_lock(&private_->lock);
    mete__criteria_forget(private_);
    for (size_t g = 0; g < batch->groups && !status; g++)
        if (given->row[g].count &&
            !mete__criteria_keep(private_, batch->prompt_id[batch->group[g]], &given->row[g], true))
            status = mete_fail(cx, METE_ENOMEM, "out of memory for criteria");
    private_->rubric_version++;
    private_->learnt++;
    pthread_mutex_unlock(&private_->lock);
    return status;
}

static bool
same_criterion(const mete_criterion *a, const mete_criterion *b)
{
    return a->kind == b->kind && a->points == b->points && a->scale == b->scale &&
           mete_text_equal(a->text, b->text) && mete_text_equal(a->check, b->check) &&
           mete_text_equal(a->target, b->target);
}

static void
count_changes(const mete_batch *batch, const uint8_t *first, const mete_rubric_table *was,
              const mete_rubric_table *is, mete__refined *out)
{
    for (size_t g = 0; g < batch->groups; g++) {
        size_t a = was->first[g], b = is->first[g], count = is->first[g + 1] - b;
        bool same = was->first[g + 1] - a == count;
        if (!first[g])
            continue;
        for (size_t k = 0; same && k < count; k++)
            same = same_criterion(&was->item[a + k], &is->item[b + k]);
        out->prompts++;
        out->changed += !same;
        out->criteria += (double)count;
    }
    out->criteria /= out->prompts ? (double)out->prompts : 1;
}

/* The table's texts, which the cache owns, in the call's arena. */
static int
copy_texts(mete_ctx *cx, const mete_rubric_table *table)
{
    for (size_t k = 0; k < table->count; k++) {
        mete_criterion *c = (mete_criterion *)(uintptr_t)&table->item[k];
        mete_text *text[] = {&c->id, &c->text, &c->check, &c->target, &c->source};
        for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
            *text[i] = mete_text_copy(cx, *text[i]);
            if (!text[i]->data)
                return mete_fail(cx, METE_ENOMEM, "out of memory for criteria");
        }
    }
    return METE_OK;
}

int
mete__rubric_refine(mete_node *node, const mete_batch *batch, const mete_scores *scores,
                    mete_buffer *before, mete_buffer *after, mete__refined *out, mete_error *err)
{
    mete_ctx cx = mete__ctx_make(node, METE__LEARNING, err);
    mete__arena_mark mark = mete__arena_marked(cx.arena);
    mete_batch *view = mete__arena_take(cx.arena, sizeof *view);
    const uint8_t *first = find_firsts(cx.arena, batch);
    mete_criteria given = {0};
    const mete_rubric_table *was = NULL, *is = NULL;
    int status = METE_OK;
    if (!view || !first || !mete__criteria_make(&given, batch->groups))
        status = mete_fail(&cx, METE_ENOMEM, "out of memory for criteria");
    if (!status) {
        mete__view_filter(batch, METE_SEE_LEARN, cx.arena, view);
        cx.batch = view;
        was = mete_rubric_of(&cx, node, view);
        status = was ? copy_texts(&cx, was) : err->code;
    }
    if (!status)
        status = node->plugin->as.rubric.refine(&cx, node->self, view, scores, was, &given);
    if (!status)
        status = take_refined(&cx, batch, &given);
    if (!status && !(is = mete_rubric_of(&cx, node, view)))
        status = err->code;
    if (!status) {
        *out = (mete__refined){.version = node->private_->rubric_version};
        count_changes(batch, first, was, is, out);
        put_version(before, batch, first, was);
        put_version(after, batch, first, is);
        if (before->status || after->status)
            status = mete_fail(&cx, METE_ENOMEM, "out of memory for a version");
    }
    mete__criteria_done(&given);
    mete__arena_release(cx.arena, mark);
    return mete__ctx_blame(node, status, err);
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

/* Of each refined prompt: its id, how many criteria it has, and these. */
struct fixed {
    uint32_t kind;
    int32_t scale, parent;
    double points;
    uint64_t length[5];
};

static void
text_members(mete_criterion *c, mete_text *member[5])
{
    member[0] = &c->id;
    member[1] = &c->text;
    member[2] = &c->check;
    member[3] = &c->target;
    member[4] = &c->source;
}

static void
pack(const mete__node_private *private_, mete_buffer *out)
{
    for (size_t i = 0; i < private_->criterias; i++) {
        const mete__criteria_entry *entry = &private_->criteria[i];
        uint64_t head[2] = {entry->prompt_id, entry->count};
        if (!entry->refined)
            continue;
        mete_buffer_append(out, head, sizeof head);
        for (size_t k = 0; k < entry->count; k++) {
            mete_criterion *c = &entry->item[k];
            mete_text *text[5];
            struct fixed fixed;
            memset(&fixed, 0, sizeof fixed);
            fixed.kind = c->kind;
            fixed.scale = c->scale;
            fixed.parent = c->parent;
            fixed.points = c->points;
            text_members(c, text);
            for (size_t t = 0; t < 5; t++)
                fixed.length[t] = text[t]->length;
            mete_buffer_append(out, &fixed, sizeof fixed);
            for (size_t t = 0; t < 5; t++)
                mete_buffer_append(out, text[t]->data, text[t]->length);
        }
    }
}

/* The next `size` bytes, or false where there are not so many. */
static bool
unpack(const char *data, size_t length, size_t *at, void *out, size_t size)
{
    if (size > length - *at)
        return false;
    if (size)
        memcpy(out, data + *at, size);
    *at += size;
    return true;
}

static int
unpack_criterion(mete_ctx *cx, const char *data, size_t length, size_t *at, mete_criteria *out)
{
    mete_criterion c = {.size = sizeof c};
    struct fixed fixed;
    mete_text *text[5];
    if (!unpack(data, length, at, &fixed, sizeof fixed))
        return METE_EDATA;
    c.kind = fixed.kind;
    c.scale = fixed.scale;
    c.parent = fixed.parent;
    c.points = fixed.points;
    text_members(&c, text);
    for (size_t t = 0; t < 5; t++) {
        if (fixed.length[t] > length - *at)
            return METE_EDATA;
        *text[t] = (mete_text){data + *at, (size_t)fixed.length[t]};
        *at += (size_t)fixed.length[t];
    }
    return mete_criterion_add(cx, out, 0, &c);
}

int
mete__rubric_save(const mete_node *node, mete__checkpoint *to, mete_error *err)
{
    char name[1200];
    int64_t version = (int64_t)node->private_->rubric_version;
    mete_buffer refined = mete_buffer_make(0);
    snprintf(name, sizeof name, "node/%s/version", node->path);
    int status = mete__checkpoint_add(to, name, METE_I64, 1, &version, err);
    pack(node->private_, &refined);
    snprintf(name, sizeof name, "node/%s/refined", node->path);
    if (!status && refined.status)
        status = mete_error_set(err, METE_ENOMEM, "%s: out of memory while saving", node->path);
    if (!status)
        status = mete__checkpoint_add(to, name, METE_U8, refined.length, refined.data, err);
    mete_buffer_free(&refined);
    return status;
}

int
mete__rubric_load(mete_node *node, const char *path, const mete__checkpoint *from, mete_error *err)
{
    char name[1200];
    size_t one = 1, length = SIZE_MAX, at = 0;
    mete_ctx cx = mete__ctx_make(node, METE__LEARNING, err);
    snprintf(name, sizeof name, "node/%s/version", path);
    const int64_t *version = mete__checkpoint_get(from, name, METE_I64, &one);
    snprintf(name, sizeof name, "node/%s/refined", path);
    const char *data = mete__checkpoint_get(from, name, METE_U8, &length);
    if (!version || length == SIZE_MAX)
        return mete_error_set(err, METE_EDATA, "%s: the checkpoint has no version of its criteria",
                              node->path);
    mete__criteria_free(node->private_);
    node->private_->rubric_version = (uint64_t)*version;
    int status = METE_OK;
    while (data && at < length && !status) {
        uint64_t head[2];
        mete_criteria given;
        if (!mete__criteria_make(&given, 1))
            status = METE_ENOMEM;
        else if (!unpack(data, length, &at, head, sizeof head))
            status = METE_EDATA;
        for (uint64_t k = 0; !status && k < head[1]; k++)
            status = unpack_criterion(&cx, data, length, &at, &given);
        if (!status && !mete__criteria_keep(node->private_, head[0], &given.row[0], true))
            status = METE_ENOMEM;
        mete__criteria_done(&given);
    }
    return status
               ? mete_error_set(err, status, "%s: the refined criteria in the checkpoint %s",
                                node->path, status == METE_ENOMEM ? "are too many" : "are damaged")
               : METE_OK;
}
