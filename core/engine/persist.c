/* persist.c - what nodes learnt, into a checkpoint and back. */
#include "engine/isolate_world.h"
#include "run/checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
entry_name(char *out, size_t size, const char *path, const char *what, const char *name)
{
    snprintf(out, size, "node/%s/%s%s", path, what, name);
}

/* Is what the node keeps in a process of its own? */
static bool
in_process(const mete_node *node)
{
    return node->kind == METE_KIND_ENVIRONMENT && node->private_->isolate;
}

static int
save_node(mete_node *node, mete__checkpoint *to, mete_error *err)
{
    char name[1200];
    int status = METE_OK;
    for (size_t i = 0; i < node->tensors && !status; i++) {
        entry_name(name, sizeof name, node->path, "tensor/", node->tensor[i].name);
        status = mete__checkpoint_add(to, name, node->tensor[i].element, node->tensor[i].count,
                                      node->tensor[i].data, err);
    }
    if (!status && node->plugin->as.head.save) {
        mete__bytes bytes = {0};
        mete_ctx cx = mete__ctx_make(node, METE__SAVING, err);
        mete__arena_mark mark = mete__arena_marked(cx.arena);
        cx.bytes = &bytes;
        status =
            in_process(node) ? mete__apart_save(&cx) : node->plugin->as.head.save(&cx, node->self);
        status = mete__ctx_blame(node, status, err);
        mete__arena_release(cx.arena, mark);
        entry_name(name, sizeof name, node->path, "bytes", "");
        if (!status)
            status = mete__checkpoint_add(to, name, METE_U8, bytes.length, bytes.data, err);
        free(bytes.data);
    }
    if (!status && mete__can_refine(node))
        status = mete__rubric_save(node, to, err);
    size_t each = (size_t)node->plugin->as.head.episode_size;
    if (!status && node->private_->on_error == METE__ON_ERROR_LAST) {
        entry_name(name, sizeof name, node->path, "last", "");
        status = mete__checkpoint_add(to, name, METE_F64, 1, &node->private_->last, err);
    }
    if (!status && each) {
        size_t count = mete__states_count(node);
        uint64_t *id = malloc((count + 1) * sizeof *id);
        char *bytes = malloc((count + 1) * each);
        if (!id || !bytes)
            status = mete_error_set(err, METE_ENOMEM, "%s: out of memory while saving", node->path);
        if (!status) {
            mete__states_write(node, id, bytes);
            entry_name(name, sizeof name, node->path, "episodes", "");
            status = mete__checkpoint_add(to, name, METE_I64, count, id, err);
        }
        if (!status) {
            entry_name(name, sizeof name, node->path, "states", "");
            status = mete__checkpoint_add(to, name, METE_U8, count * each, bytes, err);
        }
        free(id);
        free(bytes);
    }
    return status;
}

static int
missing(const mete_node *node, const char *name, mete_error *err)
{
    return mete_error_set(
        err, METE_EDATA,
        "%s: the checkpoint has no '%s' of this shape; was the config changed, or is the "
        "node called otherwise (node.as)?",
        node->path, name);
}

/* What the node of that path had learnt. */
static int
load_learnt(mete_node *node, const char *path, const mete__checkpoint *from, mete_error *err)
{
    char name[1200];
    size_t count;
    node->private_->learnt++;
    for (size_t i = 0; i < node->tensors; i++) {
        static const size_t size[] = {
            [METE_F32] = 4, [METE_F64] = 8, [METE_I32] = 4, [METE_I64] = 8, [METE_U8] = 1};
        mete__tensor *tensor = &node->tensor[i];
        entry_name(name, sizeof name, path, "tensor/", tensor->name);
        count = tensor->count;
        const void *data = mete__checkpoint_get(from, name, tensor->element, &count);
        if (!data && tensor->count)
            return missing(node, name, err);
        if (tensor->count)
            memcpy(tensor->data, data, tensor->count * size[tensor->element]);
    }
    if (node->plugin->as.head.load) {
        entry_name(name, sizeof name, path, "bytes", "");
        count = SIZE_MAX;
        const void *data = mete__checkpoint_get(from, name, METE_U8, &count);
        if (!data && count == SIZE_MAX)
            return missing(node, name, err);
        mete_ctx cx = mete__ctx_make(node, METE__LEARNING, err);
        mete__arena_mark mark = mete__arena_marked(cx.arena);
        count = data ? count : 0;
        int status = in_process(node) ? mete__apart_load(&cx, data, count)
                                      : node->plugin->as.head.load(&cx, node->self, data, count);
        mete__arena_release(cx.arena, mark);
        if (status)
            return mete__ctx_blame(node, status, err);
    }
    return mete__can_refine(node) ? mete__rubric_load(node, path, from, err) : METE_OK;
}

static int
load_node(mete_node *node, const mete__checkpoint *from, mete_error *err)
{
    char name[1200];
    size_t count, each = (size_t)node->plugin->as.head.episode_size;
    int status = load_learnt(node, node->path, from, err);
    if (status)
        return status;
    if (node->private_->on_error == METE__ON_ERROR_LAST) {
        entry_name(name, sizeof name, node->path, "last", "");
        count = 1;
        const double *last = mete__checkpoint_get(from, name, METE_F64, &count);
        node->private_->last = last ? *last : NAN;
    }
    if (each) {
        entry_name(name, sizeof name, node->path, "episodes", "");
        count = SIZE_MAX;
        const uint64_t *id = mete__checkpoint_get(from, name, METE_I64, &count);
        if (count == SIZE_MAX)
            return missing(node, name, err);
        size_t bytes = count * each;
        entry_name(name, sizeof name, node->path, "states", "");
        const char *data = mete__checkpoint_get(from, name, METE_U8, &bytes);
        if (count && (!data || !id))
            return missing(node, name, err);
        if (!mete__states_read(node, count, id, data))
            return mete_error_set(err, METE_ENOMEM, "%s: out of memory while loading", node->path);
    }
    return METE_OK;
}

int
mete__engine_save(mete__engine *engine, mete__checkpoint *to, mete_error *err)
{
    int status = METE_OK;
    for (size_t i = 0; i < engine->nodes && !status; i++)
        if (engine->node[i]->plugin)
            status = save_node(engine->node[i], to, err);
    return status;
}

int
mete__engine_load(mete__engine *engine, const mete__checkpoint *from, mete_error *err)
{
    int status = METE_OK;
    for (size_t i = 0; i < engine->nodes && !status; i++)
        if (engine->node[i]->plugin)
            status = load_node(engine->node[i], from, err);
    return status;
}

int
mete__node_load_from(mete_node *node, const char *folder, const char *as, mete_error *err)
{
    uint64_t iteration;
    if (!node->tensors && !node->plugin->as.head.load && !mete__can_refine(node))
        return mete_error_set(err, METE_EINVAL, "%s: '%s' keeps nothing that could come from a run",
                              node->path, node->plugin->as.head.name);
    mete__checkpoint *from = mete__checkpoint_read(folder, &iteration, NULL, NULL, err);
    if (!from)
        return err->code ? err->code
                         : mete_error_set(err, METE_EDATA, "%s: %s has no checkpoint", node->path,
                                          folder);
    int status = load_learnt(node, as ? as : node->path, from, err);
    mete__checkpoint_free(from);
    return status;
}

int
mete__engine_adopt(mete__engine *engine, const mete_node *node, const mete__checkpoint *from,
                   mete_error *err)
{
    size_t length = strlen(node->path);
    int status = METE_OK;
    for (size_t i = 0; i < engine->nodes && !status; i++) {
        mete_node *at = engine->node[i];
        if (at->plugin && strncmp(at->path, node->path, length) == 0 &&
            (!at->path[length] || at->path[length] == '.'))
            status = load_learnt(at, at->path, from, err);
    }
    return status;
}
