/* context.c - the services behind mete_ctx: errors, memory, declarations, tensors. */
#include "engine/context.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- scratch, one per thread ----------------------------------------------------------------- */

static _Thread_local mete__arena *scratch_arena;
static _Thread_local mete_tape *scratch_tape;
static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;

static void
scratch_end(void *unused)
{
    (void)unused;
    mete__scratch_drop();
}

static void
scratch_setup(void)
{
    pthread_key_create(&scratch_key, scratch_end);
}

mete__arena *
mete__scratch(void)
{
    if (!scratch_arena) {
        pthread_once(&scratch_once, scratch_setup);
        scratch_arena = mete__arena_new();
        pthread_setspecific(scratch_key, scratch_arena);
    }
    return scratch_arena;
}

mete_tape *
mete__scratch_tape(void)
{
    if (!scratch_tape)
        scratch_tape = mete_tape_new();
    return scratch_tape;
}

void
mete__scratch_drop(void)
{
    mete__arena_free(scratch_arena);
    scratch_arena = NULL;
    if (scratch_tape)
        mete_tape_free(scratch_tape);
    scratch_tape = NULL;
}

/* ---- errors ---------------------------------------------------------------------------------- */

mete_ctx
mete__ctx_make(mete_node *node, unsigned phase, mete_error *err)
{
    mete_ctx cx = {
        .node = node, .engine = node->engine, .arena = mete__scratch(), .err = err, .phase = phase};
    return cx;
}

int
mete__ctx_blame(const mete_node *node, int code, mete_error *err)
{
    if (!err || code == METE_OK)
        return code;
    if (!err->code)
        mete_error_set(err, code, "failed without saying why (status %d)", code);
    size_t length = strlen(node->path);
    if (strncmp(err->message, node->path, length) == 0 && strchr(":.[", err->message[length]))
        return code;
    char message[sizeof err->message];
    snprintf(message, sizeof message, "%s", err->message);
    return mete_error_set(err, code, "%s: %s", node->path, message);
}

int
mete_fail(mete_ctx *cx, int code, const char *format, ...)
{
    char message[sizeof((mete_error *)0)->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    mete_error_set(cx->err, code, "%s", message);
    return mete__ctx_blame(cx->node, code, cx->err);
}

/* ---- memory and identity --------------------------------------------------------------------- */

void *
mete_arena(mete_ctx *cx, size_t bytes)
{
    return mete__arena_zero(cx->arena, bytes);
}

void *
mete_alloc(mete_ctx *cx, size_t bytes)
{
    mete__node_private *private_ = cx->node->private_;
    if (!private_->memory)
        private_->memory = mete__arena_new();
    return private_->memory ? mete__arena_zero(private_->memory, bytes) : NULL;
}

mete_text
mete_text_copy(mete_ctx *cx, mete_text text)
{
    char *copy = mete__arena_string(cx->arena, text.data, text.length);
    return (mete_text){copy, copy ? text.length : 0};
}

const char *
mete_path(const mete_ctx *cx)
{
    return cx->node->path;
}

uint64_t
mete_iteration(const mete_ctx *cx)
{
    return cx->engine->iteration;
}

uint64_t
mete_key(const mete_ctx *cx)
{
    return cx->node->key;
}

void
mete_log(mete_ctx *cx, int level, const char *format, ...)
{
    const mete__engine_options *options = &cx->engine->options;
    if (!options->log)
        return;
    char message[2000];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&cx->engine->lock);
    options->log(options->user, cx->node->path, level, message);
    pthread_mutex_unlock(&cx->engine->lock);
}

void
mete_metric(mete_ctx *cx, const char *name, double value)
{
    mete__engine *engine = cx->engine;
    char full[512];
    if (!engine->metric)
        return;
    snprintf(full, sizeof full, "%s/%s", cx->node->path, name);
    for (char *at = full; at < full + strlen(cx->node->path) && *at; at++)
        *at = *at == '.' ? '/' : *at; /* as the node's own metrics are called */
    pthread_mutex_lock(&engine->lock);
    engine->metric(engine->metric_user, full, value);
    pthread_mutex_unlock(&engine->lock);
}

/* ---- declarations ---------------------------------------------------------------------------- */

/* Room for one more of `count` elements; arrays grow by powers of two. */
static void *
room(void *array, size_t count, size_t each)
{
    if (count & (count - 1))
        return array;
    return realloc(array, (count ? 2 * count : 1) * each);
}

static size_t
element_size(mete_type element)
{
    switch (element) {
    case METE_F64:
    case METE_I64:
        return 8;
    case METE_F32:
    case METE_I32:
        return 4;
    case METE_U8:
        return 1;
    default:
        return 0;
    }
}

int
mete_tensor(mete_ctx *cx, const char *name, mete_type element, size_t count)
{
    mete_node *node = cx->node;
    size_t each = element_size(element);
    if (!(cx->phase & METE__OPENING))
        return mete_fail(cx, METE_EPLUGIN, "declared tensor '%s' outside open", name);
    if (!each || count > SIZE_MAX / 16)
        return mete_fail(cx, METE_EPLUGIN, "tensor '%s' has no such element type or size", name);
    for (size_t i = 0; i < node->tensors; i++)
        if (strcmp(node->tensor[i].name, name) == 0)
            return mete_fail(cx, METE_EPLUGIN, "declared tensor '%s' twice", name);
    mete__tensor *grown = room(node->tensor, node->tensors, sizeof *grown);
    if (!grown)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    node->tensor = grown;
    mete__tensor *tensor = &grown[node->tensors];
    *tensor = (mete__tensor){strdup(name), element, count, calloc(count ? count : 1, each)};
    if (!tensor->name || !tensor->data) {
        free(tensor->name);
        free(tensor->data);
        return mete_fail(cx, METE_ENOMEM, "out of memory for tensor '%s' of %zu values", name,
                         count);
    }
    return (int)node->tensors++;
}

const void *
mete_tensor_read(mete_ctx *cx, int handle)
{
    if (handle < 0 || (size_t)handle >= cx->node->tensors)
        return NULL;
    return cx->node->tensor[handle].data;
}

void *
mete_tensor_write(mete_ctx *cx, int handle)
{
    if (!(cx->phase & (METE__OPENING | METE__LEARNING))) {
        mete_fail(cx, METE_EPLUGIN, "asked to write what it learnt while scoring");
        return NULL;
    }
    return (void *)(uintptr_t)mete_tensor_read(cx, handle);
}

int
mete_save_bytes(mete_ctx *cx, const void *bytes, size_t length)
{
    mete__bytes *to = cx->bytes;
    if (!to)
        return mete_fail(cx, METE_EPLUGIN, "saved bytes outside save");
    if (to->room - to->length < length) {
        size_t grown = to->room ? to->room : 256;
        while (grown - to->length < length)
            grown *= 2;
        char *data = realloc(to->data, grown);
        if (!data)
            return mete_fail(cx, METE_ENOMEM, "out of memory while saving");
        to->data = data;
        to->room = grown;
    }
    if (length)
        memcpy(to->data + to->length, bytes, length);
    to->length += length;
    return METE_OK;
}

int
mete_parameter(mete_ctx *cx, const char *name, size_t rows, size_t columns, mete_init init,
               double gain, size_t *offset)
{
    mete_node *node = cx->node;
    if (!(cx->phase & METE__OPENING))
        return mete_fail(cx, METE_EPLUGIN, "declared parameter '%s' outside open and describe",
                         name);
    if (!rows || !columns || rows > ((size_t)1 << 40) / columns)
        return mete_fail(cx, METE_EPLUGIN, "parameter '%s' has the shape %zu x %zu", name, rows,
                         columns);
    mete__parameter *grown = room(node->parameter, node->parameters, sizeof *grown);
    char *copy = strdup(name);
    if (grown)
        node->parameter = grown;
    if (!grown || !copy) {
        free(copy);
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    }
    grown[node->parameters++] =
        (mete__parameter){copy, rows, columns, node->parameter_count, init, gain};
    *offset = node->parameter_count;
    node->parameter_count += rows * columns;
    return METE_OK;
}

/* Adds a declared name, refusing twins. */
static int
declare(mete_ctx *cx, mete__declared what, const char *name, const char *help)
{
    mete_node *node = cx->node;
    if (!(cx->phase & METE__OPENING))
        return mete_fail(cx, METE_EPLUGIN, "declared '%s' outside open", name);
    for (size_t i = 0; i < node->declareds; i++)
        if (strcmp(node->declared[i].name, name) == 0)
            return mete_fail(cx, METE_EPLUGIN, "declared '%s' twice", name);
    mete__declared *grown = room(node->declared, node->declareds, sizeof *grown);
    if (!grown)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    node->declared = grown;
    what.name = strdup(name);
    what.help = strdup(help ? help : "");
    if (!what.name || !what.help) {
        free(what.name);
        free(what.help);
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    }
    grown[node->declareds] = what;
    return (int)node->declareds++;
}

int
mete_signal(mete_ctx *cx, const char *name, mete_level level, mete_role role, double lo, double hi,
            const char *help)
{
    mete__declared what = {
        .level = level, .element = METE_F64, .role = role, .signal = true, .lo = lo, .hi = hi};
    if (level > METE_STEP || level == METE_SCENE)
        return mete_fail(cx, METE_EPLUGIN, "signal '%s' is at a level that signals do not have",
                         name);
    return declare(cx, what, name, help);
}

int
mete_provide(mete_ctx *cx, const char *name, mete_level level, mete_type element,
             mete_visible visible, const char *help)
{
    mete__declared what = {
        .level = level, .element = element, .visible = visible, .parent = METE_EPISODE};
    if (level != METE_EPISODE && level != METE_TURN && level != METE_STEP && level != METE_LIST)
        return mete_fail(cx, METE_EPLUGIN,
                         "column '%s' must be at level episode, turn, step or list", name);
    return declare(cx, what, name, help);
}

int
mete_provide_lists(mete_ctx *cx, const char *name, mete_level parent, mete_visible visible,
                   const char *help)
{
    mete__declared what = {
        .level = METE_LIST, .element = METE_TEXT, .visible = visible, .parent = parent};
    if (parent != METE_EPISODE && parent != METE_TURN && parent != METE_STEP)
        return mete_fail(cx, METE_EPLUGIN, "lists '%s' must be of episodes, turns or steps", name);
    return declare(cx, what, name, help);
}

int
mete_provide_signal(mete_ctx *cx, const char *name, mete_visible visible, double lo, double hi,
                    const char *help)
{
    mete__declared what = {.level = METE_STEP,
                           .element = METE_F32,
                           .visible = visible,
                           .signal = true,
                           .lo = lo,
                           .hi = hi};
    return declare(cx, what, name, help);
}

void
mete_spread(mete_ctx *cx)
{
    cx->node->spread = true;
}

void
mete_per_step(mete_ctx *cx)
{
    cx->node->per_step = true;
}

bool
mete__node_reads(mete_node *node, const mete_field *field)
{
    mete_field *grown = room(node->field, node->fields, sizeof *grown);
    if (!grown)
        return false;
    node->field = grown;
    grown[node->fields++] = *field;
    return true;
}

int
mete_need(mete_ctx *cx, const char *name, mete_level level, mete_type element, uint32_t flags,
          mete_field *field)
{
    mete_node *node = cx->node;
    if (!(cx->phase & METE__OPENING))
        return mete_fail(cx, METE_EPLUGIN, "asked for column '%s' outside open", name);
    size_t length = strlen(name);
    char *copy = mete_alloc(cx, length + 1);
    if (!copy)
        return mete_fail(cx, METE_ENOMEM, "out of memory");
    memcpy(copy, name, length + 1);
    *field = (mete_field){copy, level, element, flags};
    return mete__node_reads(node, field) ? METE_OK : mete_fail(cx, METE_ENOMEM, "out of memory");
}
