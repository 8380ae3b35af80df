/* adapters.c - low-rank adapters of frozen matrices (Hu et al. 2021, arXiv:2106.09685): which parts
 * have them, and those that a file of PEFT's brings, adapter_config.json with
 * adapter_model.safetensors. A published part of a matrix (q_proj of the joined queries, keys and
 * values) has an adapter of its own, as there. */
#include "transformer.h"

#include <math.h>
#include <string.h>

#define RANK_MOST 4096

float
adapters_scale(const struct transformer *p)
{
    double rank = (double)p->rank;
    return (float)(p->alpha / (p->stable ? sqrt(rank) : rank));
}

mete_text
adapters_module(const struct transformer *p, const struct part *part)
{
    mete_text name = part->module;
    for (size_t i = name.length; p->family != FAMILY_GPT2 && i--;)
        if (name.data[i] == '.')
            return (mete_text){name.data + i + 1, name.length - i - 1};
    return name;
}

void
adapters_name(const struct part *part, int which, char *out, size_t room)
{
    size_t stem = strlen(part->name) - strlen(".weight");
    snprintf(out, room, "base_model.model.%.*s.lora_%s.weight", (int)stem, part->name,
             which ? "B" : "A");
}

/* ---- which parts ----------------------------------------------------------------------------- */

static const char *
own_name(enum role role)
{
    return role == QKV    ? "qkv"
           : role == OUT  ? "out"
           : role == UP   ? "up"
           : role == DOWN ? "down"
                          : "";
}

/* Is it the module of this name? Names are ends of the module's, cut at a dot, as in PEFT. */
static int
is_called(const struct part *part, const char *name)
{
    size_t length = strlen(name), whole = part->module.length;
    const char *end = part->module.data + whole - (length < whole ? length : whole);
    return length && length <= whole && memcmp(end, name, length) == 0 &&
           (length == whole || end[-1] == '.');
}

static int
is_named(enum role role, const struct part *part, const char *name)
{
    return strcmp(own_name(role), name) == 0 || is_called(part, name);
}

int
adapters_want(const struct transformer *p, enum role role, const struct part *part)
{
    if (!*own_name(role))
        return 0;
    if (!p->targets.count)
        return role == QKV || role == OUT;
    for (size_t i = 0; i < p->targets.count; i++)
        if (is_named(role, part, p->targets.item[i]))
            return 1;
    return 0;
}

static int
names_something(const struct transformer *p, const char *name)
{
    struct part part;
    for (int role = 0; role < LAYER_ROLES; role++)
        for (size_t k = 0; published_part(p, 0, (enum role)role, k, &part); k++)
            if (*own_name((enum role)role) && is_named((enum role)role, &part, name))
                return 1;
    return 0;
}

int
adapters_check_targets(mete_ctx *cx, const struct transformer *p)
{
    for (size_t i = 0; i < p->targets.count; i++)
        if (!names_something(p, p->targets.item[i]))
            return mete_fail(
                cx, p->adapters ? METE_ENOTSUP : METE_EINVAL,
                "targets: no '%.60s' can have adapters; qkv, out, up and down can, and "
                "their published parts, such as %s",
                p->targets.item[i], p->family == FAMILY_GPT2 ? "c_attn" : "q_proj");
    return METE_OK;
}

int
adapters_declare(mete_ctx *cx, const struct transformer *p, size_t layer, enum role role)
{
    struct weight *w = weight_of(p, layer, role);
    struct part part;
    size_t from = 0;
    int status = METE_OK;
    for (size_t k = 0; !status && published_part(p, layer, role, k, &part); k++) {
        struct adapter *d = &w->part[k];
        char name[160];
        *d = (struct adapter){.from = from, .rows = part.rows};
        from += part.rows;
        if (!adapters_want(p, role, &part))
            continue;
        d->has = 1;
        w->rank = (size_t)p->rank;
        int length = (int)part.module.length;
        snprintf(name, sizeof name, "layer/%zu/%.*s/lora_a", layer, length, part.module.data);
        status = mete_parameter(cx, name, w->rank, w->columns, METE_INIT_UNIFORM, 1, &d->a);
        snprintf(name, sizeof name, "layer/%zu/%.*s/lora_b", layer, length, part.module.data);
        if (!status)
            status = mete_parameter(cx, name, d->rows, w->rank, METE_INIT_ZERO, 0, &d->b);
    }
    return status;
}

/* ---- adapter_config.json --------------------------------------------------------------------- */

/* What a file may say that changes nothing here: where it came from, how it was begun and trained,
 * and what the arrays themselves tell. */
static const char *const harmless[] = {
    "task_type",      "auto_mapping", "base_model_name_or_path", "revision",
    "inference_mode", "lora_dropout", "fan_in_fan_out",          "peft_version",
    "megatron_core",  "eva_config",   "qalora_group_size",       "ensure_weight_tying",
    "runtime_config"};

/* Some beginnings change the model that the adapters belong to. */
static void
check_beginning(struct settings *r)
{
    static const char *const good[] = {"gaussian", "eva", "orthogonal"};
    const mete_json *at = settings_get(r, r->root, "init_lora_weights");
    if (mete_json_kind(at) != METE_JSON_STRING || r->status)
        return;
    for (size_t i = 0; i < 3; i++)
        if (mete_text_is(mete_json_text(at), good[i]))
            return;
    r->status = mete_fail(
        r->cx, METE_ENOTSUP,
        "%s: \"init_lora_weights\" is \"%.*s\": such adapters belong to another base than "
        "the published one; convert them to plain ones",
        r->path, (int)(mete_json_text(at).length < 40 ? mete_json_text(at).length : 40),
        mete_json_text(at).data);
}

/* target_modules as p->targets. */
static void
read_targets(struct settings *r, struct transformer *p)
{
    const mete_json *list = settings_get(r, r->root, "target_modules");
    size_t count = mete_json_count(list);
    if (r->status)
        return;
    if (mete_json_kind(list) != METE_JSON_ARRAY || !count) {
        r->status = mete_fail(r->cx, METE_ENOTSUP,
                              "%s: \"target_modules\" must be a list of module names", r->path);
        return;
    }
    const char **name = mete_alloc(r->cx, count * sizeof *name);
    for (size_t i = 0; name && i < count && !r->status; i++) {
        mete_text text = mete_json_text(mete_json_at(list, i));
        char *copy = mete_alloc(r->cx, text.length + 1);
        if (!text.length || memchr(text.data, 0, text.length))
            r->status = mete_fail(r->cx, METE_EDATA,
                                  "%s: \"target_modules\" must be a list of module names", r->path);
        else if (!copy)
            name = NULL;
        else
            name[i] = memcpy(copy, text.data, text.length);
    }
    if (!name && !r->status)
        r->status = mete_fail(r->cx, METE_ENOMEM, "out of memory");
    p->targets = (mete_strings){name, count};
}

static void
read_config(struct settings *r, struct transformer *p)
{
    settings_only(r, "peft_type", "LORA", NULL);
    settings_only(r, "bias", "none", NULL);
    check_beginning(r);
    size_t rank = settings_size(r, "r", 0);
    if (rank > RANK_MOST && !r->status)
        r->status =
            mete_fail(r->cx, METE_EDATA, "%s: \"r\" must be at most %d", r->path, RANK_MOST);
    if (p->rank && (size_t)p->rank != rank && !r->status)
        r->status =
            mete_fail(r->cx, METE_EINVAL, "rank = %lld, but %s has \"r\" %zu; leave rank out",
                      (long long)p->rank, r->path, rank);
    p->rank = (int64_t)rank;
    p->alpha = settings_number(r, r->root, "lora_alpha", 8, 1e-6, 1e6);
    p->stable = settings_flag(r, "use_rslora", 0);
    read_targets(r, p);
    settings_closed(r, r->root, (mete_strings){harmless, sizeof harmless / sizeof *harmless}, 1);
}

/* ---- adapter_model.safetensors --------------------------------------------------------------- */

static int
check_array(mete_ctx *cx, const struct transformer *p, const char *name, size_t rows,
            size_t columns)
{
    const mete_array *array = mete_arrays_find(p->adapter_arrays, name);
    if (!array)
        return mete_fail(cx, METE_EDATA, "%s: has no array \"%s\"", p->adapters, name);
    if (array->dimensions == 2 && array->shape[0] == rows && array->shape[1] == columns)
        return METE_OK;
    return mete_fail(cx, METE_EDATA,
                     "%s: array \"%s\" is not %zu x %zu, as the model and \"r\" say", p->adapters,
                     name, rows, columns);
}

/* A walk over the A and the B of every part that has an adapter. */
struct visit {
    mete_ctx *cx;
    const struct transformer *p;
    float *vector; /* to fill, or NULL: to check */
    size_t count;
};

static int
visit_array(struct visit *v, const struct part *part, int which, size_t rows, size_t columns,
            size_t offset)
{
    char name[320];
    mete_error err = {0};
    adapters_name(part, which, name, sizeof name);
    v->count++;
    if (!v->vector)
        return check_array(v->cx, v->p, name, rows, columns);
    int status = mete_array_read(mete_arrays_find(v->p->adapter_arrays, name), 0, rows * columns,
                                 v->vector + offset, &err);
    if (status)
        return mete_fail(v->cx, status, "%s: %s", v->p->adapters, err.message);
    for (size_t i = 0; i < rows * columns; i++)
        if (!isfinite(v->vector[offset + i]))
            return mete_fail(v->cx, METE_EDATA, "%s: array \"%s\" has a number that is not finite",
                             v->p->adapters, name);
    return METE_OK;
}

static int
visit_all(struct visit *v)
{
    const struct transformer *p = v->p;
    size_t rank = (size_t)p->rank;
    struct part part;
    int status = METE_OK;
    for (size_t i = 0; i < p->shape.layers * LAYER_ROLES && !status; i++) {
        enum role role = (enum role)(i % LAYER_ROLES);
        for (size_t k = 0; !status && published_part(p, i / LAYER_ROLES, role, k, &part); k++) {
            if (!adapters_want(p, role, &part))
                continue;
            struct adapter d = p->layer ? p->layer[i].part[k] : (struct adapter){0};
            status = visit_array(v, &part, 0, rank, part.columns, d.a);
            if (!status)
                status = visit_array(v, &part, 1, part.rows, rank, d.b);
        }
    }
    return status;
}

int
adapters_open(mete_ctx *cx, struct transformer *p)
{
    struct settings r;
    struct visit v = {.cx = cx, .p = p};
    mete_error err = {0};
    char path[4096];
    if (!p->load)
        return mete_fail(cx, METE_EINVAL, "adapters want the model they belong to: give `load`");
    if (p->targets.count)
        return mete_fail(cx, METE_EINVAL, "targets: those of the adapters hold; leave targets out");
    if (settings_open(cx, p->adapters, "adapter_config.json", &r) == METE_OK)
        read_config(&r, p);
    settings_close(&r);
    int status = r.status ? r.status : adapters_check_targets(cx, p);
    if (status)
        return status;
    int length = snprintf(path, sizeof path, "%s/adapter_model.safetensors", p->adapters);
    if ((size_t)length >= sizeof path)
        return mete_fail(cx, METE_EIO, "%s: too long a name", p->adapters);
    if (!(p->adapter_arrays = mete_arrays_open(path, &err)))
        return mete_fail(cx, err.code, "%s", err.message);
    status = visit_all(&v);
    if (!status && mete_arrays_count(p->adapter_arrays) != v.count)
        status = mete_fail(cx, METE_EDATA,
                           "%s: holds %zu arrays where adapters of \"target_modules\" are %zu",
                           p->adapters, mete_arrays_count(p->adapter_arrays), v.count);
    return status;
}

int
adapters_start(mete_ctx *cx, const struct transformer *p, float *vector)
{
    struct visit v = {.cx = cx, .p = p, .vector = vector};
    return visit_all(&v);
}
