/* instance.c - builds every node a config names, opens it, and takes it down again.
 *
 * Invariants: a node's path is unique in its engine; parents stand before children in engine->node;
 * a node is opened once, after its children, and closed in the reverse order.
 */
#include "engine/context.h"
#include "engine/isolate_world.h"
#include "engine/options.h"
#include "nn/nn.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const loop_words[] = {"group", "lanes", "parts", "steps", "observe"};
static const char *const builtin_models[] = {"policy", "reference", "old", "ema"};

/* ---- making and freeing one node ------------------------------------------------------------- */

/* The key of a node's random streams. A clone is the same world with episodes of its own, so it has
 * the key of what it was cloned from. */
static uint64_t
key_of(const mete__engine *engine, const char *path)
{
    size_t length = engine->clone_path ? strlen(engine->clone_path) : 0;
    char original[2048];
    if (length && strncmp(path, engine->clone_path, length) == 0) {
        snprintf(original, sizeof original, "%s%s", engine->clone_of, path + length);
        path = original;
    }
    return mete_hash_mix(engine->options.seed, mete_hash(0, path, strlen(path)));
}

static mete_node *
node_new(mete__engine *engine, mete_kind kind, const char *name, const char *path)
{
    if (engine->nodes == engine->node_room) {
        size_t grown = engine->node_room ? 2 * engine->node_room : 16;
        mete_node **nodes = realloc(engine->node, grown * sizeof *nodes);
        if (!nodes)
            return NULL;
        engine->node = nodes;
        engine->node_room = grown;
    }
    mete_node *node = calloc(1, sizeof *node);
    mete__node_private *private_ = calloc(1, sizeof *private_);
    if (!node || !private_) {
        free(node);
        free(private_);
        return NULL;
    }
    node->engine = engine;
    node->kind = kind;
    node->name = strdup(name);
    node->path = strdup(path);
    node->private_ = private_;
    private_->number = engine->nodes;
    private_->update_every = 1;
    private_->last = NAN;
    pthread_mutex_init(&private_->lock, NULL);
    node->key = key_of(engine, path);
    engine->node[engine->nodes++] = node;
    return node;
}

static void
node_close(mete_node *node)
{
    if (!node->opened || !node->plugin || !node->plugin->as.head.close)
        return;
    mete_error err = {0};
    mete_ctx cx = mete__ctx_make(node, 0, &err);
    mete__arena_mark mark = mete__arena_marked(cx.arena);
    node->plugin->as.head.close(&cx, node->self);
    mete__arena_release(cx.arena, mark);
    node->opened = false;
}

static void
node_free(mete_node *node)
{
    mete__node_private *private_ = node->private_;
    mete__apart_free(node);
    mete__isolate_free(private_->isolate);
    for (size_t i = 0; i < node->tensors; i++) {
        free(node->tensor[i].name);
        free(node->tensor[i].data);
    }
    for (size_t i = 0; i < node->declareds; i++) {
        free(node->declared[i].name);
        free(node->declared[i].help);
    }
    for (size_t i = 0; i < node->parameters; i++)
        free(node->parameter[i].name);
    free(node->tensor);
    free(node->declared);
    free(node->parameter);
    free(node->field);
    free(node->child);
    free(node->weight);
    free(node->self);
    free(node->name);
    free(node->path);
    free(private_->gold);
    free(private_->part);
    free(private_->live);
    free(private_->model_vector);
    mete__secrets_free(private_);
    mete__criteria_free(private_);
    free(private_->left_out);
    mete__states_free(private_);
    mete__arena_free(private_->memory);
    pthread_mutex_destroy(&private_->lock);
    free(private_);
    free(node);
}

/* ---- the binder: what options.c asks of us --------------------------------------------------- */

typedef struct build {
    mete__engine *engine;
    mete_node *node; /* being bound */
} build;

static mete_node *build_node(mete__engine *engine, mete_kind kind, mete__value *group,
                             const char *path, mete_node *parent);

static mete_node *
bind_node(void *user, mete_kind kind, mete__value *group, const char *option)
{
    build *to = user;
    char path[1024];
    (void)option;
    /* The value's own path is unique and says where it stands in the file. */
    if (strncmp(group->path, to->node->at->path, strlen(to->node->at->path)) == 0)
        snprintf(path, sizeof path, "%s%s", to->node->path,
                 group->path + strlen(to->node->at->path));
    else
        snprintf(path, sizeof path, "%s.%s", to->node->path, option);
    return build_node(to->engine, kind, group, path, to->node);
}

static mete_node *
find_path(mete__engine *engine, const char *path)
{
    for (size_t i = 0; i < engine->nodes; i++)
        if (strcmp(engine->node[i]->path, path) == 0)
            return engine->node[i];
    return NULL;
}

static mete_node *
bind_model(void *user, const char *name, mete__value *at)
{
    build *to = user;
    mete__engine *engine = to->engine;
    char path[512];
    snprintf(path, sizeof path, "models.%s", name);
    mete_node *node = find_path(engine, path);
    if (node)
        return node;
    mete__value *root = mete__config_root(engine->config);
    mete__value *models = mete__value_get(root, "models");
    mete__value *group = models ? mete__value_get(models, name) : NULL;
    if (group)
        return build_node(engine, METE_KIND_POLICY, group, path, NULL);
    mete__value *snapshots = mete__value_get(root, "snapshots");
    bool known = snapshots && snapshots->kind == METE__GROUP && mete__value_get(snapshots, name);
    for (size_t i = 0; i < sizeof builtin_models / sizeof *builtin_models; i++)
        known |= strcmp(name, builtin_models[i]) == 0;
    if (!known) {
        mete__errors_add(engine->errors,
                         "%s:%d: %s: no model is called '%s'; 'policy', 'reference', 'old', 'ema', "
                         "and those named under models or snapshots are",
                         at ? at->file : "config", at ? at->line : 0, to->node->path, name);
        return NULL;
    }
    node = node_new(engine, METE_KIND_POLICY, name, path);
    if (node)
        node->private_->alias = node->name;
    return node;
}

static void
bind_field(void *user, const mete_field *field)
{
    (void)mete__node_reads(((build *)user)->node, field);
}

static void *
bind_alloc(void *user, size_t bytes)
{
    mete_ctx cx = mete__ctx_make(((build *)user)->node, METE__OPENING, NULL);
    return mete_alloc(&cx, bytes);
}

static void
live_add(mete_node *node, double *target, const mete__schedule *schedule)
{
    mete__node_private *private_ = node->private_;
    mete__live *grown = realloc(private_->live, (private_->lives + 1) * sizeof *grown);
    if (!grown)
        return;
    private_->live = grown;
    grown[private_->lives++] = (mete__live){target, *schedule};
}

static void
bind_schedule(void *user, double *target, const mete__schedule *schedule)
{
    live_add(((build *)user)->node, target, schedule);
}

/* ---- children, reserved words ---------------------------------------------------------------- */

/* A child's path ends in its name, so paths survive reordering; a second child of one name gets a
 * number, which is refused later unless names differ. */
static void
child_path(const mete_node *node, const char *name, char *path, size_t size)
{
    snprintf(path, size, "%s.%s", node->path, name);
}

static int
read_weight(mete__engine *engine, mete_node *node, mete__value *group, size_t k)
{
    mete__value *value = mete__value_get(group, "weight");
    mete__schedule schedule = mete__schedule_constant(1);
    if (value && value->kind == METE__GROUP) {
        if (mete__schedule_read(value, &schedule, engine->errors))
            return METE_EINVAL;
    } else if (value) {
        schedule = mete__schedule_constant(
            mete__value_real(group, "weight", 1, -1e12, 1e12, engine->errors));
    }
    node->weight[k] = mete__schedule_at(&schedule, 0);
    /* constant or not, each iteration begins with the config's weight, which a watch may lower */
    live_add(node, &node->weight[k], &schedule);
    return METE_OK;
}

static void
build_children(mete__engine *engine, mete_node *node, mete__value *of)
{
    if (of->kind != METE__LIST) {
        mete__errors_add(engine->errors, "%s:%d: %s.of must be a list ( { use = ... }, ... )",
                         of->file, of->line, node->path);
        return;
    }
    node->child = calloc(of->count + 1, sizeof *node->child);
    node->weight = calloc(of->count + 1, sizeof *node->weight);
    node->private_->gold = calloc(of->count + 1, sizeof *node->private_->gold);
    if (!node->child || !node->weight || !node->private_->gold)
        return;
    for (mete__value *item = of->first; item; item = item->next) {
        if (item->kind != METE__GROUP) {
            mete__errors_add(engine->errors, "%s:%d: %s must be a group { use = ...; }", item->file,
                             item->line, item->path);
            continue;
        }
        const char *use = mete__value_string(item, "use", "", engine->errors);
        const char *name = mete__value_string(item, "name", use, engine->errors);
        char path[1024];
        child_path(node, name, path, sizeof path);
        if (find_path(engine, path)) {
            mete__errors_add(
                engine->errors,
                "%s:%d: two children of %s are called '%s'; give each a name of its own "
                "(name = \"...\")",
                item->file, item->line, node->path, name);
            continue;
        }
        mete_node *child = build_node(engine, METE_KIND_REWARD, item, path, node);
        if (!child)
            continue;
        if (child->gold && !node->gold) {
            node->private_->gold[node->private_->golds++] = child;
            continue;
        }
        read_weight(engine, node, item, node->children);
        node->child[node->children++] = child;
    }
}

static bool
can_isolate(const mete_node *node)
{
    const mete__plugin *plugin = node->plugin;
    if (node->kind == METE_KIND_ENVIRONMENT)
        return !plugin->as.environment.fit_batch && !plugin->as.environment.epoch;
    return node->kind == METE_KIND_REWARD && !(plugin->as.head.flags & METE_LAZY);
}

/* isolate = "process", and its limits under `node`. It is the rule for plugins that ask for it and
 * for rewards that did not come with mete; a step of an environment is too short for that. */
static void
read_isolate(mete__engine *engine, mete_node *node, mete__value *group, mete__value *core)
{
    mete__errors *errors = engine->errors;
    bool rule = (node->plugin->as.head.flags & METE_ISOLATED) != 0 ||
                (node->plugin->outside && node->kind == METE_KIND_REWARD && can_isolate(node));
    bool wanted = mete__value_enum(group, "isolate", rule, "none|process", errors) == 1;
    mete__limits limits = {60, 4096, 64, false};
    if (core) {
        limits.timeout = mete__value_real(core, "timeout", limits.timeout, 0.01, 1e6, errors);
        limits.memory = mete__value_real(core, "memory", limits.memory, 0, 1e9, errors);
        limits.losses = mete__value_int(core, "losses", limits.losses, 1, 1000000000, errors);
        limits.fork = mete__value_bool(core, "fork", limits.fork, errors);
    }
    if (!wanted)
        return;
    if (!can_isolate(node))
        mete__errors_add(errors,
                         "%s:%d: %s.isolate: only an environment that learns nothing, or a reward "
                         "that does not ask for its children row by row, can run in a process of "
                         "its own",
                         group->file, group->line, node->path);
    else if (!(node->private_->isolate = mete__isolate_new(&limits)))
        mete__errors_add(errors, "%s:%d: %s: out of memory", group->file, group->line, node->path);
}

static void
read_reserved(mete__engine *engine, mete_node *node, mete__value *group)
{
    mete__value *core = mete__value_get(group, "node");
    if (core && core->kind != METE__GROUP) {
        mete__errors_add(engine->errors, "%s:%d: %s.node must be a group { ... }", core->file,
                         core->line, node->path);
        return;
    }
    node->private_->on_error =
        mete__value_enum(group, "on_error", 0, "skip|fail|value|last", engine->errors);
    read_isolate(engine, node, group, core);
    if (!core)
        return;
    node->private_->on_error_value =
        mete__value_real(core, "value", 0, -1e300, 1e300, engine->errors);
    node->private_->update_every =
        (uint64_t)mete__value_int(core, "update_every", 1, 1, 1000000000, engine->errors);
    mete__value_get(core, "stream"); /* the loop's */
    mete__value_get(core, "from");   /* read once it is open */
    mete__value_get(core, "as");
    mete__value_unknown(core, "update_every stream from as timeout memory losses fork value",
                        engine->errors);
}

/* node = { from = "RUN"; as = "PATH"; }: the node starts with what the one of that path in a run
 * folder learnt. */
static void
read_from(mete__engine *engine, mete_node *node, mete__value *group)
{
    mete__value *core = mete__value_get(group, "node");
    mete__value *from = core && core->kind == METE__GROUP ? mete__value_get(core, "from") : NULL;
    mete_error err = {0};
    if (!from || !mete__value_string(core, "from", NULL, engine->errors))
        return;
    const char *as = mete__value_string(core, "as", NULL, engine->errors);
    char *folder = mete__value_file(from);
    if (!folder || mete__node_load_from(node, folder, as, &err))
        mete__errors_add(engine->errors, "%s:%d: %s", from->file, from->line,
                         folder ? err.message : "out of memory");
    free(folder);
}

/* ---- opening --------------------------------------------------------------------------------- */

static int
call_open(void *user, mete_error *err)
{
    mete_node *node = user;
    mete_ctx cx = mete__ctx_make(node, METE__OPENING, err);
    mete__arena_mark mark = mete__arena_marked(cx.arena);
    int status = node->plugin->as.head.open(&cx, node->self);
    mete__arena_release(cx.arena, mark);
    return mete__ctx_blame(node, status, err);
}

/* An isolated node opens in a process of its own first: what it declares there and allocates must
 * be known in the run, so the run opens it then, too. */
static int
rehearse_open(mete_node *node, mete_error *err)
{
    bool survived;
    mete_ctx cx = mete__ctx_make(node, METE__OPENING, err);
    return node->private_->isolate ? mete__isolate_rehearse(&cx, "open", call_open, node, &survived)
                                   : METE_OK;
}

static int
node_open(mete_node *node)
{
    const mete_plugin *head = &node->plugin->as.head;
    mete__errors *errors = node->engine->errors;
    mete_error err = {0};
    int status = METE_OK;
    if (node->kind == METE_KIND_REWARD)
        node->per_step = (head->flags & METE_PER_STEP) != 0;
    if (head->open && !(status = rehearse_open(node, &err)))
        status = call_open(node, &err);
    if (status) {
        mete__errors_add(errors, "%s:%d: %s", node->at ? node->at->file : "config",
                         node->at ? node->at->line : 0, err.message);
        return status;
    }
    node->opened = true;
    return METE_OK;
}

static void
check_children(mete__engine *engine, mete_node *node, const mete__value *group)
{
    unsigned flags = node->plugin->as.head.flags;
    if (node->kind != METE_KIND_REWARD)
        return;
    if (!(flags & METE_COMBINES) && node->children)
        mete__errors_add(engine->errors, "%s:%d: %s: '%s' takes no children (remove `of`)",
                         group->file, group->line, node->path, node->plugin->as.head.name);
    else if ((flags & METE_COMBINES) && !(flags & METE_ANY_CHILDREN) && !node->children)
        mete__errors_add(engine->errors, "%s:%d: %s: '%s' needs children: of = ( { use = ...; } )",
                         group->file, group->line, node->path, node->plugin->as.head.name);
    else if ((flags & METE_ONE_CHILD) && node->children != 1)
        mete__errors_add(engine->errors, "%s:%d: %s: '%s' takes exactly one child, not %zu",
                         group->file, group->line, node->path, node->plugin->as.head.name,
                         node->children);
}

/* Gold are the children under `of` that say so, and all below them. */
static bool
is_gold(const mete_node *parent, mete__value *group, mete__errors *errors)
{
    const mete__value *of = parent ? mete__value_get(parent->at, "of") : NULL;
    if (parent && parent->gold)
        return true;
    for (const mete__value *item = of ? of->first : NULL; item; item = item->next)
        if (item == group)
            return mete__value_bool(group, "gold", false, errors);
    return false;
}

static mete_node *
build_node(mete__engine *engine, mete_kind kind, mete__value *group, const char *path,
           mete_node *parent)
{
    mete__errors *errors = engine->errors;
    if (group->kind != METE__GROUP) {
        mete__errors_add(errors, "%s:%d: %s must be a group { use = ...; }", group->file,
                         group->line, group->path);
        return NULL;
    }
    size_t before = errors->count;
    const char *use = mete__value_string(group, "use", NULL, errors);
    if (!use) {
        if (errors->count == before)
            mete__errors_add(errors, "%s:%d: %s: says no `use`; name a %s plugin (mete plugins)",
                             group->file, group->line, path, mete__kind_word(kind));
        return NULL;
    }
    mete_error err = {0};
    const mete__plugin *plugin = mete__plugin_get(kind, use, &err);
    if (!plugin) {
        mete__errors_add(errors, "%s:%d: %s: %s", group->file, group->line, path, err.message);
        return NULL;
    }
    const char *name = mete__value_string(group, "name", use, errors);
    mete_node *node = node_new(engine, kind, name, path);
    if (!node)
        return NULL;
    node->plugin = plugin;
    node->at = group;
    node->parent = parent;
    node->gold = is_gold(parent, group, errors); /* before its children, who see what it sees */
    node->self = calloc(1, plugin->as.head.state_size ? plugin->as.head.state_size : 1);
    if (!node->self)
        return NULL;
    read_reserved(engine, node, group);
    if (kind == METE_KIND_ENVIRONMENT) /* the loop's words beside the environment's own */
        for (size_t i = 0; i < sizeof loop_words / sizeof *loop_words; i++)
            mete__value_get(group, loop_words[i]);
    if (kind == METE_KIND_POLICY && strcmp(path, "policy") == 0)
        mete__value_get(group, "from"); /* whoever begins a run reads it */
    mete__value *of = mete__value_get(group, "of");
    if (kind == METE_KIND_REWARD && of)
        build_children(engine, node, of);
    check_children(engine, node, group);
    build to = {engine, node};
    mete__binder binder = {&to, bind_node, bind_model, bind_field, bind_alloc, bind_schedule};
    int status = mete__options_bind(&plugin->as.head, group, node->self, &binder, errors);
    if (status || errors->count != before)
        return node; /* its errors are told; opening it would only add to them */
    if (!node_open(node))
        read_from(engine, node, group);
    return node;
}

/* ---- the engine ------------------------------------------------------------------------------ */

/* Is what the environment declares found where the field looks for it? A list may be a single text.
 * In a conversation a policy's rows are answers, so that a column of turns is one of its rows, and
 * numbers of a step stand at the answer too. */
static bool
at_level(const mete__declared *declared, const mete_field *field, const mete_node *node)
{
    return declared->level == field->level ||
           (field->level == METE_LIST && declared->level == METE_EPISODE) ||
           (field->level == METE_TURN && declared->signal) ||
           (field->level == METE_EPISODE && declared->level == METE_TURN &&
            node->kind == METE_KIND_POLICY);
}

/* Every column a reward, rubric generator or policy needs must be provided by the environment. */
static void
check_fields(mete__engine *engine)
{
    static const char *const hot[] = {"prompt", "response"};
    const mete_node *environment = engine->environment;
    if (!environment)
        return;
    for (size_t n = 0; n < engine->nodes; n++) {
        const mete_node *node = engine->node[n];
        for (size_t f = 0; node->plugin && f < node->fields; f++) {
            const mete_field *field = &node->field[f];
            bool found = false;
            char *names = calloc(1, 1);
            size_t length = 0;
            for (size_t i = 0; i < sizeof hot / sizeof *hot; i++)
                found |= strcmp(field->name, hot[i]) == 0;
            /* The environment's own reward is a column like its signals. */
            found |= (field->level == METE_STEP || field->level == METE_TURN) &&
                     strcmp(field->name, "reward") == 0;
            for (size_t i = 0; i < environment->declareds && names; i++) {
                const mete__declared *declared = &environment->declared[i];
                bool level = at_level(declared, field, node);
                bool seen =
                    declared->visible == METE_SEE_POLICY || node->gold ||
                    (declared->visible == METE_SEE_REWARD && node->kind == METE_KIND_REWARD);
                found |= level && seen && declared->element == field->element &&
                         strcmp(declared->name, field->name) == 0;
                size_t more = strlen(declared->name) + 1;
                char *grown = realloc(names, length + more + 1);
                if (!grown)
                    break;
                names = grown;
                snprintf(names + length, more + 1, "%s ", declared->name);
                length += more;
            }
            if (!found && !(field->flags & METE_OPTIONAL))
                mete__errors_add(engine->errors,
                                 "%s:%d: %s needs the column '%s', which environment '%s' does not "
                                 "provide to it; it provides: %s",
                                 node->at->file, node->at->line, node->path, field->name,
                                 environment->plugin->as.head.name, length ? names : "none");
            free(names);
        }
    }
}

int
mete__engine_turns(const mete__engine *engine, mete_error *err)
{
    const mete_node *environment = engine->environment;
    for (size_t n = 0; n < engine->nodes && !mete__converses(environment); n++)
        for (size_t f = 0; f < engine->node[n]->fields; f++)
            if (engine->node[n]->field[f].level == METE_TURN &&
                !(engine->node[n]->field[f].flags & METE_OPTIONAL))
                return mete_error_set(err, METE_EINVAL,
                                      "%s needs the turns' column '%s', and environment '%s' is no "
                                      "conversation",
                                      engine->node[n]->path, engine->node[n]->field[f].name,
                                      environment->plugin->as.head.name);
    return METE_OK;
}

static mete_node *
build_top(mete__engine *engine, const char *word, mete_kind kind)
{
    mete__value *group = mete__value_get(mete__config_root(engine->config), word);
    return group ? build_node(engine, kind, group, word, NULL) : NULL;
}

mete__engine *
mete__engine_open(mete__config *config, const mete__engine_options *options, mete__errors *errors)
{
    mete__engine *engine = calloc(1, sizeof *engine);
    if (!engine)
        return NULL;
    mete__nn_init();
    engine->config = config;
    engine->options = *options;
    engine->errors = errors;
    pthread_mutex_init(&engine->lock, NULL);
    engine->arena = mete__arena_new();
    engine->workers = mete__workers_new(options->threads ? options->threads : 1);
    size_t before = errors->count;
    mete__value *models = mete__value_get(mete__config_root(config), "models");
    engine->environment = build_top(engine, "env", METE_KIND_ENVIRONMENT);
    engine->policy = build_top(engine, "policy", METE_KIND_POLICY);
    for (mete__value *item = models ? models->first : NULL; item; item = item->next) {
        build to = {engine, engine->policy};
        item->used = true;
        bind_model(&to, item->name, item);
    }
    engine->reward = build_top(engine, "reward", METE_KIND_REWARD);
    if (errors->count == before)
        check_fields(engine);
    if (errors->count != before || !engine->arena || !engine->workers) {
        mete__engine_close(engine);
        return NULL;
    }
    return engine;
}

void
mete__engine_close(mete__engine *engine)
{
    if (!engine)
        return;
    for (size_t i = engine->nodes; i-- > 0;)
        node_close(engine->node[i]);
    for (size_t i = 0; i < engine->nodes; i++)
        node_free(engine->node[i]);
    for (size_t i = 0; i < engine->snapshots; i++)
        free(engine->snapshot[i].name);
    free(engine->snapshot);
    free(engine->node);
    mete__workers_free(engine->workers);
    mete__arena_free(engine->arena);
    pthread_mutex_destroy(&engine->lock);
    free(engine);
}

mete_node *
mete__engine_reward(mete__engine *engine)
{
    return engine->reward;
}

mete_node *
mete__engine_policy(mete__engine *engine)
{
    return engine->policy;
}

mete_node *
mete__engine_environment(mete__engine *engine)
{
    return engine->environment;
}

mete_node *const *
mete__engine_nodes(mete__engine *engine, size_t *count)
{
    *count = engine->nodes;
    return engine->node;
}

mete_node *
mete__engine_find(mete__engine *engine, const char *path_or_name)
{
    mete_node *node = find_path(engine, path_or_name);
    for (size_t i = 0; !node && i < engine->nodes; i++)
        if (strcmp(engine->node[i]->name, path_or_name) == 0)
            node = engine->node[i];
    return node;
}

mete__workers *
mete__engine_workers(mete__engine *engine)
{
    return engine->workers;
}

mete_node *
mete__engine_build(mete__engine *engine, mete_kind kind, mete__value *group, const char *path,
                   mete__errors *errors)
{
    mete__errors *kept = engine->errors;
    size_t before = errors->count;
    engine->errors = errors;
    mete_node *node = build_node(engine, kind, group, path, NULL);
    engine->errors = kept;
    return errors->count == before ? node : NULL;
}

mete_node *
mete__engine_clone(mete__engine *engine, mete_node *node, const char *path, mete_error *err)
{
    mete__errors errors = {0};
    engine->clone_path = path;
    engine->clone_of = node->path;
    mete_node *clone = mete__engine_build(engine, node->kind, node->at, path, &errors);
    engine->clone_path = engine->clone_of = NULL;
    if (!clone)
        mete_error_set(err, METE_EINVAL, "%s",
                       errors.count ? errors.line[0] : "out of memory while cloning a node");
    mete__errors_free(&errors);
    return clone;
}

void
mete__engine_measure(mete__engine *engine,
                     void (*metric)(void *user, const char *name, double value), void *user)
{
    engine->metric = metric;
    engine->metric_user = user;
}

void
mete__engine_iteration(mete__engine *engine, uint64_t iteration)
{
    engine->iteration = iteration;
    for (size_t i = 0; i < engine->nodes; i++) {
        const mete__node_private *private_ = engine->node[i]->private_;
        for (size_t k = 0; k < private_->lives; k++)
            *private_->live[k].target =
                mete__schedule_at(&private_->live[k].schedule, (double)iteration);
    }
}

void
mete__engine_reset(mete__engine *engine)
{
    mete__arena_release(engine->arena, (mete__arena_mark){0, 0});
    engine->frame = NULL;
    for (size_t i = 0; i < engine->nodes; i++) /* nobody holds criteria between batches */
        mete__criteria_trim(engine->node[i]->private_);
}
