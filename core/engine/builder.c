/* builder.c - grows a batch row by row; memory is kept and reused from batch to batch. */
#include "engine/context.h"

#include <stdlib.h>
#include <string.h>

/* A growable array of elements of `each` bytes. */
typedef struct vector {
    char *data;
    size_t count, room, each;
} vector;

typedef struct column {
    char *name;
    mete_level level, parent;
    mete_type element;
    mete_visible visible;
    vector data, offset; /* texts are stored as offsets into `bytes` until the batch is taken */
} column;

/* A text stored in the byte heap, which moves while it grows. */
typedef struct stored {
    size_t offset, length;
    bool absent;
} stored;

struct mete__builder {
    mete__shape shape;
    vector id, prompt_id, task_id, first_step, starts, terminated, truncated, masked, step_begin,
        group, prompt, response, final_observation, final_value;
    vector turn_begin, turn_first, turn_step, turn_text, turn_role, turn_prompt, talk;
    size_t talk_from; /* where the row's conversation begins in `talk` */
    bool talk_own;    /* the row has begun its own turns */
    vector observation, action, action_vector, action_mask, logp, value, loss_mask, span, step_row;
    vector pair_a, pair_b, pair_p;
    vector bytes;
    column *column;
    size_t columns;
    bool broken; /* memory ran out: reported when the batch is taken */
    mete_batch batch;
    mete__arena *arena; /* finished texts and columns */
};

static void *
extend(mete__builder *builder, vector *v, size_t each, size_t count)
{
    v->each = each;
    if (v->room - v->count < count) {
        size_t room = v->room ? 2 * v->room : 256;
        while (room - v->count < count)
            room *= 2;
        char *data = each && room < SIZE_MAX / each ? realloc(v->data, room * each) : NULL;
        if (!data) {
            builder->broken = true;
            return NULL;
        }
        v->data = data;
        v->room = room;
    }
    void *at = v->data + v->count * each;
    v->count += count;
    return at;
}

#define PUSH(builder, v, type, what)                                                               \
    do {                                                                                           \
        type *at_ = extend(builder, v, sizeof(type), 1);                                           \
        if (at_)                                                                                   \
            *at_ = (what);                                                                         \
    } while (0)

static void
append(mete__builder *builder, vector *v, const void *data, size_t each, size_t count)
{
    void *at = extend(builder, v, each, count);
    if (!at || !each || !count)
        return;
    if (data)
        memcpy(at, data, each * count);
    else
        memset(at, 0, each * count);
}

static stored
store(mete__builder *builder, mete_text text)
{
    stored where = {builder->bytes.count, text.length, text.data == NULL};
    append(builder, &builder->bytes, text.data, 1, text.length);
    return where;
}

mete__builder *
mete__builder_new(void)
{
    mete__builder *builder = calloc(1, sizeof *builder);
    if (!builder || !(builder->arena = mete__arena_new())) {
        free(builder);
        return NULL;
    }
    mete__builder_reset(builder);
    return builder;
}

/* clang-format off */
#define EACH_VECTOR(DO) \
    DO(id) DO(prompt_id) DO(task_id) DO(first_step) DO(starts) DO(terminated) DO(truncated) \
    DO(masked) DO(step_begin) DO(group) DO(prompt) DO(response) DO(final_observation) \
    DO(final_value) DO(observation) DO(action) DO(action_vector) DO(action_mask) DO(logp) \
    DO(value) DO(loss_mask) DO(span) DO(step_row) DO(pair_a) DO(pair_b) DO(pair_p) DO(bytes) \
    DO(turn_begin) DO(turn_first) DO(turn_step) DO(turn_text) DO(turn_role) DO(turn_prompt) DO(talk)
/* clang-format on */

static void
drop_columns(mete__builder *builder)
{
    for (size_t i = 0; i < builder->columns; i++) {
        free(builder->column[i].name);
        free(builder->column[i].data.data);
        free(builder->column[i].offset.data);
    }
    free(builder->column);
    builder->column = NULL;
    builder->columns = 0;
}

void
mete__builder_free(mete__builder *builder)
{
    if (!builder)
        return;
#define DROP(member) free(builder->member.data);
    EACH_VECTOR(DROP)
#undef DROP
    drop_columns(builder);
    mete__arena_free(builder->arena);
    free(builder);
}

/* Empties rows and columns' values; the shape and the columns stay declared. */
void
mete__builder_reset(mete__builder *builder)
{
#define EMPTY(member) builder->member.count = 0;
    EACH_VECTOR(EMPTY)
#undef EMPTY
    for (size_t i = 0; i < builder->columns; i++)
        builder->column[i].data.count = builder->column[i].offset.count = 0;
    builder->broken = false;
    mete__arena_release(builder->arena, (mete__arena_mark){0, 0});
    PUSH(builder, &builder->step_begin, uint32_t, 0);
}

void
mete__builder_shape(mete__builder *builder, const mete__shape *shape)
{
    builder->shape = *shape;
}

int
mete__builder_column(mete__builder *builder, const char *name, mete_level level, mete_type element,
                     mete_level parent, mete_visible visible)
{
    column *grown = realloc(builder->column, (builder->columns + 1) * sizeof *grown);
    char *copy = strdup(name);
    if (grown)
        builder->column = grown;
    if (!grown || !copy) {
        free(copy);
        builder->broken = true;
        return 0;
    }
    grown[builder->columns] = (column){
        .name = copy, .level = level, .parent = parent, .element = element, .visible = visible};
    return (int)builder->columns++;
}

static size_t
column_each(const column *c)
{
    switch (c->element) {
    case METE_TEXT:
    case METE_JSON:
        return sizeof(stored);
    case METE_F32:
    case METE_I32:
        return 4;
    case METE_U8:
        return 1;
    default:
        return 8;
    }
}

/* Fills a column with absent values up to row `count`. */
static void
pad(mete__builder *builder, column *c, size_t count)
{
    bool text = c->element == METE_TEXT || c->element == METE_JSON;
    if (c->level == METE_LIST) {
        while (c->offset.count < count + 1)
            PUSH(builder, &c->offset, uint32_t, (uint32_t)c->data.count);
        return;
    }
    while (c->data.count < count && !builder->broken) {
        if (text)
            PUSH(builder, &c->data, stored, ((stored){0, 0, true}));
        else
            append(builder, &c->data, NULL, column_each(c), 1);
    }
}

static size_t
level_count(const mete__builder *builder, const column *c)
{
    mete_level level = c->level == METE_LIST ? c->parent : c->level;
    return level == METE_STEP   ? builder->step_row.count
           : level == METE_TURN ? builder->turn_role.count
           : level == METE_PAIR ? builder->pair_a.count
                                : builder->id.count;
}

int
mete__builder_row(mete__builder *builder, const mete__row *row)
{
    const mete__shape *shape = &builder->shape;
    bool joins = row->joins && builder->id.count &&
                 ((uint64_t *)builder->prompt_id.data)[builder->id.count - 1] == row->prompt_id;
    if (!joins)
        PUSH(builder, &builder->group, uint32_t, (uint32_t)builder->id.count);
    PUSH(builder, &builder->id, uint64_t, row->id);
    PUSH(builder, &builder->prompt_id, uint64_t, row->prompt_id);
    PUSH(builder, &builder->task_id, uint64_t, row->task_id);
    PUSH(builder, &builder->first_step, uint32_t, row->first_step);
    PUSH(builder, &builder->starts, uint8_t, row->starts);
    PUSH(builder, &builder->terminated, uint8_t, row->terminated);
    PUSH(builder, &builder->truncated, uint8_t, row->truncated);
    PUSH(builder, &builder->masked, uint8_t, row->masked);
    PUSH(builder, &builder->step_begin, uint32_t, (uint32_t)builder->step_row.count);
    if (shape->text) {
        PUSH(builder, &builder->prompt, stored, store(builder, row->prompt));
        PUSH(builder, &builder->response, stored, store(builder, row->response));
    }
    if (shape->observation_size)
        append(builder, &builder->final_observation, NULL, shape->observation_size * sizeof(float),
               1);
    if (shape->heads)
        append(builder, &builder->final_value, NULL, shape->heads * sizeof(float), 1);
    if (shape->turns) {
        PUSH(builder, &builder->turn_begin, uint32_t, (uint32_t)builder->turn_role.count);
        PUSH(builder, &builder->turn_first, uint32_t, (uint32_t)builder->turn_role.count);
        builder->talk_from = builder->talk.count;
        builder->talk_own = false;
    }
    return builder->broken ? METE_ENOMEM : METE_OK;
}

int
mete__builder_turn(mete__builder *builder, uint8_t role, mete_text text, bool own)
{
    size_t turn = builder->turn_role.count, from = builder->talk_from;
    if (!builder->turn_first.count)
        return METE_EINVAL;
    if (!builder->talk_own && !builder->broken)
        ((uint32_t *)(void *)builder->turn_first.data)[builder->turn_first.count - 1] =
            (uint32_t)(own ? turn : turn + 1);
    builder->talk_own |= own;
    stored before = {from, builder->talk.count - from, false};
    if (before.length)
        append(builder, &builder->talk, "\n", 1, 1);
    append(builder, &builder->talk, text.data, 1, text.length);
    PUSH(builder, &builder->turn_prompt, stored, before);
    PUSH(builder, &builder->turn_text, stored, store(builder, text));
    PUSH(builder, &builder->turn_role, uint8_t, role);
    PUSH(builder, &builder->turn_step, uint32_t, (uint32_t)builder->step_row.count);
    return builder->broken ? METE_ENOMEM : METE_OK;
}

int
mete__builder_steps(mete__builder *builder, size_t count, const float *observation,
                    const int32_t *action, const float *action_vector, const uint8_t *action_mask,
                    const float *logp, const float *value)
{
    const mete__shape *shape = &builder->shape;
    if (!builder->id.count)
        return METE_EINVAL;
    uint32_t *row = extend(builder, &builder->step_row, sizeof *row, count);
    for (size_t i = 0; row && i < count; i++)
        row[i] = (uint32_t)builder->id.count - 1;
    if (shape->observation_size)
        append(builder, &builder->observation, observation, shape->observation_size * sizeof(float),
               count);
    if (shape->action_size)
        append(builder, &builder->action_vector, action_vector, shape->action_size * sizeof(float),
               count);
    else
        append(builder, &builder->action, action, sizeof(int32_t), count);
    if (shape->action_count) {
        uint8_t *mask = extend(builder, &builder->action_mask, shape->action_count, count);
        if (mask && action_mask)
            memcpy(mask, action_mask, count * shape->action_count);
        else if (mask)
            memset(mask, 1, count * shape->action_count);
    }
    if (shape->logp)
        append(builder, &builder->logp, logp, sizeof(float), count);
    if (shape->heads)
        append(builder, &builder->value, value, shape->heads * sizeof(float), count);
    if (shape->text) {
        append(builder, &builder->span, NULL, 2 * sizeof(uint32_t), count);
        uint8_t *mask = extend(builder, &builder->loss_mask, 1, count);
        if (mask)
            memset(mask, 1, count);
    }
    uint32_t *begin = (uint32_t *)(void *)builder->step_begin.data;
    if (!builder->broken)
        begin[builder->id.count] = (uint32_t)builder->step_row.count;
    return builder->broken ? METE_ENOMEM : METE_OK;
}

int
mete__builder_step(mete__builder *builder, const mete__step *step)
{
    int status =
        mete__builder_steps(builder, 1, step->observation, &step->action, step->action_vector,
                            step->action_mask, &step->logp, step->value);
    if (status || !builder->shape.text)
        return status;
    size_t last = builder->step_row.count - 1;
    uint32_t *span = (uint32_t *)(void *)builder->span.data + 2 * last;
    span[0] = step->begin;
    span[1] = step->end;
    builder->loss_mask.data[last] = (char)step->loss_mask;
    return METE_OK;
}

int
mete__builder_pair(mete__builder *builder, size_t a, size_t b, double p)
{
    PUSH(builder, &builder->pair_a, uint32_t, (uint32_t)a);
    PUSH(builder, &builder->pair_b, uint32_t, (uint32_t)b);
    PUSH(builder, &builder->pair_p, double, p);
    return builder->broken ? METE_ENOMEM : METE_OK;
}

size_t
mete__builder_rows(const mete__builder *builder)
{
    return builder->id.count;
}

void
mete__builder_end(mete__builder *builder, bool terminated, bool truncated,
                  const float *final_observation, const float *final_value)
{
    if (builder->broken || !builder->id.count)
        return;
    size_t row = builder->id.count - 1;
    size_t observation = builder->shape.observation_size * sizeof(float);
    size_t value = builder->shape.heads * sizeof(float);
    builder->terminated.data[row] = terminated;
    builder->truncated.data[row] = truncated;
    if (final_observation && observation)
        memcpy(builder->final_observation.data + row * observation, final_observation, observation);
    if (final_value && value)
        memcpy(builder->final_value.data + row * value, final_value, value);
}

void
mete__builder_text(mete__builder *builder, int handle, mete_text value, mete_type element)
{
    column *c = &builder->column[handle];
    size_t count = level_count(builder, c);
    (void)element;
    if (!count)
        return;
    pad(builder, c, count);
    if (!builder->broken)
        ((stored *)(void *)c->data.data)[count - 1] = store(builder, value);
}

void
mete__builder_number(mete__builder *builder, int handle, double value)
{
    column *c = &builder->column[handle];
    size_t count = level_count(builder, c);
    if (!count)
        return;
    pad(builder, c, count);
    if (builder->broken)
        return;
    char *at = c->data.data + (count - 1) * column_each(c);
    float f32 = (float)value;
    switch (c->element) {
    case METE_F32:
        memcpy(at, &f32, sizeof f32);
        break;
    case METE_F64:
        memcpy(at, &value, sizeof value);
        break;
    case METE_I32:
        memcpy(at, &(int32_t){(int32_t)value}, sizeof(int32_t));
        break;
    case METE_I64:
        memcpy(at, &(int64_t){(int64_t)value}, sizeof(int64_t));
        break;
    default:
        *at = (char)(uint8_t)value;
    }
}

void
mete__builder_numbers(mete__builder *builder, int handle, const float *value, size_t count)
{
    column *c = &builder->column[handle];
    size_t end = level_count(builder, c);
    if (count > end)
        return;
    pad(builder, c, end);
    for (size_t i = 0; i < count && !builder->broken; i++) {
        char *at = c->data.data + (end - count + i) * column_each(c);
        if (c->element == METE_F64)
            memcpy(at, &(double){value[i]}, sizeof(double));
        else
            memcpy(at, &value[i], sizeof(float));
    }
}

int
mete__builder_list(mete__builder *builder, int handle, const mete_text *item, size_t count)
{
    column *c = &builder->column[handle];
    size_t rows = level_count(builder, c);
    if (!rows)
        return METE_OK;
    pad(builder, c, rows - 1);
    for (size_t i = 0; i < count; i++)
        PUSH(builder, &c->data, stored, store(builder, item[i]));
    PUSH(builder, &c->offset, uint32_t, (uint32_t)c->data.count);
    return builder->broken ? METE_ENOMEM : METE_OK;
}

/* Texts as they are to be read, now that the heap stands still. */
static const mete_text *
texts(mete__builder *builder, const vector *v, const char *bytes)
{
    mete_text *text = mete__arena_take(builder->arena, (v->count + 1) * sizeof *text);
    const stored *from = (const stored *)(const void *)v->data;
    if (!text) {
        builder->broken = true;
        return NULL;
    }
    static const char empty[1] = "";
    for (size_t i = 0; i < v->count; i++) {
        const char *data = from[i].length ? bytes + from[i].offset : empty;
        text[i] = (mete_text){from[i].absent ? NULL : data, from[i].length};
    }
    return text;
}

static bool
finish_columns(mete__builder *builder, mete_batch *batch)
{
    mete_column *out = mete__arena_zero(builder->arena, (builder->columns + 1) * sizeof *out);
    if (!out)
        return false;
    for (size_t i = 0; i < builder->columns; i++) {
        column *c = &builder->column[i];
        pad(builder, c, level_count(builder, c));
        bool text = c->element == METE_TEXT || c->element == METE_JSON;
        out[i] = (mete_column){
            .size = sizeof *out,
            .level = (uint16_t)c->level,
            .element = (uint16_t)c->element,
            .visible = (uint32_t)c->visible,
            .parent = (uint32_t)c->parent,
            .shape = {1},
            .name = c->name,
            .data =
                text ? (const void *)texts(builder, &c->data, builder->bytes.data) : c->data.data,
            .offset =
                c->level == METE_LIST ? (const uint32_t *)(const void *)c->offset.data : NULL};
    }
    batch->column = out;
    batch->columns = (uint32_t)builder->columns;
    return !builder->broken;
}

static void
finish_turns(mete__builder *builder, mete_batch *batch)
{
    PUSH(builder, &builder->turn_begin, uint32_t, (uint32_t)builder->turn_role.count);
    PUSH(builder, &builder->turn_step, uint32_t, (uint32_t)builder->step_row.count);
    builder->turn_begin.count--; /* ends, as of groups */
    builder->turn_step.count--;
    batch->turns = builder->turn_role.count;
    batch->turn_begin = (const uint32_t *)(void *)builder->turn_begin.data;
    batch->turn_first = (const uint32_t *)(void *)builder->turn_first.data;
    batch->turn_step = (const uint32_t *)(void *)builder->turn_step.data;
    batch->turn_role = (const uint8_t *)builder->turn_role.data;
    batch->turn_text = texts(builder, &builder->turn_text, builder->bytes.data);
    batch->turn_prompt = texts(builder, &builder->turn_prompt, builder->talk.data);
}

const mete_batch *
mete__builder_batch(mete__builder *builder, mete_error *err)
{
    const mete__shape *shape = &builder->shape;
    mete_batch *batch = &builder->batch;
    PUSH(builder, &builder->group, uint32_t, (uint32_t)builder->id.count);
    builder->group.count--; /* the end stands past the last group; the next row writes over it */
    memset(batch, 0, sizeof *batch);
    batch->size = sizeof *batch;
    batch->host = builder;
    batch->episodes = builder->id.count;
    batch->steps = builder->step_row.count;
    batch->groups = builder->group.count;
    batch->id = (const uint64_t *)(void *)builder->id.data;
    batch->prompt_id = (const uint64_t *)(void *)builder->prompt_id.data;
    batch->task_id = (const uint64_t *)(void *)builder->task_id.data;
    batch->group = (const uint32_t *)(void *)builder->group.data;
    batch->step_begin = (const uint32_t *)(void *)builder->step_begin.data;
    batch->first_step = (const uint32_t *)(void *)builder->first_step.data;
    batch->starts = (const uint8_t *)builder->starts.data;
    batch->terminated = (const uint8_t *)builder->terminated.data;
    batch->truncated = (const uint8_t *)builder->truncated.data;
    batch->masked = (const uint8_t *)builder->masked.data;
    batch->step_row = (const uint32_t *)(void *)builder->step_row.data;
    batch->pairs = builder->pair_a.count;
    if (batch->pairs) {
        batch->pair_a = (const uint32_t *)(void *)builder->pair_a.data;
        batch->pair_b = (const uint32_t *)(void *)builder->pair_b.data;
        batch->pair_p = (const double *)(void *)builder->pair_p.data;
    }
    batch->observation_size = shape->observation_size;
    batch->action_size = shape->action_size;
    batch->action_count = shape->action_count;
    batch->heads = shape->heads;
    if (shape->text) {
        batch->prompt = texts(builder, &builder->prompt, builder->bytes.data);
        batch->response = texts(builder, &builder->response, builder->bytes.data);
        batch->span = (const uint32_t *)(void *)builder->span.data;
        batch->loss_mask = (const uint8_t *)builder->loss_mask.data;
    }
    if (shape->turns)
        finish_turns(builder, batch);
    if (shape->observation_size) {
        batch->observation = (const float *)(void *)builder->observation.data;
        batch->final_observation = (const float *)(void *)builder->final_observation.data;
    }
    if (shape->action_size)
        batch->action_vector = (const float *)(void *)builder->action_vector.data;
    else
        batch->action = (const int32_t *)(void *)builder->action.data;
    if (shape->action_count)
        batch->action_mask = (const uint8_t *)builder->action_mask.data;
    if (shape->logp)
        batch->logp = (const float *)(void *)builder->logp.data;
    if (shape->heads) {
        batch->value = (const float *)(void *)builder->value.data;
        batch->final_value = (const float *)(void *)builder->final_value.data;
    }
    if (!finish_columns(builder, batch) || builder->broken) {
        mete_error_set(err, METE_ENOMEM, "out of memory for a batch of %zu episodes, %zu steps",
                       batch->episodes, batch->steps);
        return NULL;
    }
    return batch;
}
