/* mlp - actor and critic as multilayer perceptrons, for discrete and continuous actions.
 *
 * Discrete: masked categorical over action.count logits. Continuous: diagonal normal whose mean is
 * the network's output and whose log standard deviation is a parameter of its own, not of the state
 * (Schulman et al. 2015, "Trust region policy optimization", section 8); actions are not clipped
 * here: the environment clips what it is given. Weights start orthogonal with gain sqrt 2 in hidden
 * layers, 0.01 for the policy's output and 1 for the value's (Andrychowicz et al. 2021, "What
 * matters in on-policy reinforcement learning?"; Huang et al. 2022).
 *
 * Logits given out are normalised log-probabilities (-1e30 where masked). At a temperature T the
 * sampled distribution is softmax(logits / T), or a normal of T times the deviation, and the
 * log-probability recorded is of what was sampled; a greedy action records the policy's own.
 */
#include <math.h>
#include <mete/policy.h>
#include <string.h>

#define LAYERS 8
#define HALF_LOG_2PI 0.91893853320467274178

/* Offsets of a chain of dense layers; the last is the output. */
struct net {
    size_t layers;
    size_t in[LAYERS + 1], out[LAYERS + 1], weight[LAYERS + 1], bias[LAYERS + 1];
};

struct mlp {
    mete_ints hidden;
    int activation, shared, critic;
    int64_t heads;
    double log_std;

    struct net actor, value;
    size_t log_std_at;
    uint32_t inputs, outputs; /* width of what the network reads, of logits or of the mean */
    int one_hot, normal;
};

static const mete_option options[] = {
    METE_INTS(struct mlp, hidden, 1, 65536, 0, "widths of the hidden layers; 64, 64 when absent"),
    METE_ENUM(struct mlp, activation, 0, "tanh|relu|gelu", "of the hidden layers"),
    METE_BOOL(struct mlp, shared, 0, "actor and critic share their hidden layers"),
    METE_BOOL(struct mlp, critic, 1, "has a critic"),
    METE_INT(struct mlp, heads, 1, 1, 64, "value heads"),
    METE_REAL(struct mlp, log_std, 0, -10, 4,
              "log standard deviation of continuous actions at first"),
    METE_OPTIONS_END};

static mete_activation
activation_of(const struct mlp *p)
{
    return p->activation == 1 ? METE_RELU : p->activation == 2 ? METE_GELU : METE_TANH;
}

/* Declares one dense layer and appends it to the net. */
static int
layer(mete_ctx *cx, struct net *net, const char *net_name, size_t in, size_t out, double gain)
{
    size_t k = net->layers;
    char name[64];
    size_t at = strlen(net_name);
    memcpy(name, net_name, at);
    name[at++] = '/';
    name[at++] = (char)('0' + k);
    memcpy(name + at, "/weight", 8);
    net->in[k] = in;
    net->out[k] = out;
    int status = mete_parameter(cx, name, out, in, METE_INIT_ORTHOGONAL, gain, &net->weight[k]);
    memcpy(name + at, "/bias", 6);
    if (!status)
        status = mete_parameter(cx, name, 1, out, METE_INIT_ZERO, 0, &net->bias[k]);
    net->layers++;
    return status;
}

static int
build(mete_ctx *cx, struct mlp *p, struct net *net, const char *name, size_t out, double gain)
{
    static const int64_t usual[] = {64, 64};
    const int64_t *width = p->hidden.count ? p->hidden.item : usual;
    size_t layers = p->hidden.count ? p->hidden.count : 2, in = p->inputs;
    int status = METE_OK;
    for (size_t k = 0; k < layers && !status; k++) {
        status = layer(cx, net, name, in, (size_t)width[k], sqrt(2));
        in = (size_t)width[k];
    }
    return status ? status : layer(cx, net, name, in, out, gain);
}

static int
open_mlp(mete_ctx *cx, void *self)
{
    const struct mlp *p = self;
    if (p->hidden.count > LAYERS)
        return mete_fail(cx, METE_EINVAL, "hidden has %zu layers; at most %d are allowed",
                         p->hidden.count, LAYERS);
    return METE_OK;
}

static int
describe(mete_ctx *cx, void *self, const mete_spaces *spaces, mete_policy_info *out)
{
    struct mlp *p = self;
    const mete_space *see = &spaces->observation, *act = &spaces->action;
    if (see->kind != METE_SPACE_BOX && see->kind != METE_SPACE_DISCRETE)
        return mete_fail(cx, METE_EINVAL,
                         "needs observations that are numbers; this environment "
                         "shows none (a text policy reads prompts)");
    if (act->kind != METE_SPACE_DISCRETE && act->kind != METE_SPACE_BOX)
        return mete_fail(cx, METE_EINVAL,
                         "acts by a number or a vector; this environment wants "
                         "something else (text: window_lm, candidates: scorer)");
    p->one_hot = see->kind == METE_SPACE_DISCRETE;
    p->normal = act->kind == METE_SPACE_BOX;
    p->inputs = p->one_hot ? see->count : see->size;
    p->outputs = p->normal ? act->size : act->count;
    if (!p->inputs || !p->outputs)
        return mete_fail(cx, METE_EINVAL,
                         "observations have %u values and actions %u; both must be "
                         "at least 1",
                         p->inputs, p->outputs);
    p->actor.layers = p->value.layers = 0;
    int status = build(cx, p, &p->actor, "actor", p->outputs, 0.01);
    if (!status && p->critic && !p->shared)
        status = build(cx, p, &p->value, "critic", (size_t)p->heads, 1);
    if (!status && p->critic && p->shared)
        status =
            layer(cx, &p->value, "critic", p->actor.in[p->actor.layers - 1], (size_t)p->heads, 1);
    if (!status && p->normal)
        status = mete_parameter(cx, "log_std", 1, p->outputs, METE_INIT_CONSTANT, p->log_std,
                                &p->log_std_at);
    out->heads = p->critic ? (uint32_t)p->heads : 0;
    out->classes = p->normal ? 0 : p->outputs;
    out->gradient = out->stepwise = 1;
    return status;
}

/* ---- acting ---------------------------------------------------------------------------------- */

/* Room for the widest layer of `n` rows, twice. */
static size_t
widest(const struct mlp *p)
{
    size_t width = p->inputs > p->outputs ? p->inputs : p->outputs;
    for (size_t k = 0; k < p->actor.layers; k++)
        width = p->actor.out[k] > width ? p->actor.out[k] : width;
    return p->value.layers && (size_t)p->heads > width ? (size_t)p->heads : width;
}

/* Layers [from, to) of the net, alternating between the two buffers; the result is returned. */
static const float *
run_layers(const struct net *net, size_t from, size_t to, const float *vector, const float *x,
           size_t n, mete_activation act, float *const room[2])
{
    for (size_t k = from; k < to; k++) {
        float *out = room[k & 1];
        mete_dense_run(x, n, net->in[k], vector + net->weight[k], vector + net->bias[k],
                       net->out[k], k + 1 < net->layers ? act : METE_LINEAR, out);
        x = out;
    }
    return x;
}

/* One-hot rows for a discrete observation; a value outside its space is all zeros. */
static void
spread_one_hot(const float *observation, size_t n, size_t width, float *out)
{
    memset(out, 0, n * width * sizeof *out);
    for (size_t i = 0; i < n; i++)
        if (observation[i] >= 0 && observation[i] < (float)width)
            out[i * width + (size_t)observation[i]] = 1;
}

static void
act_categorical(mete_ctx *cx, const struct mlp *p, const mete_lanes *in, size_t from, size_t n,
                float *logits, mete_actions *out)
{
    size_t width = p->outputs;
    int greedy = (in->mode & METE_ACT_GREEDY) != 0;
    if (!greedy && in->temperature > 0 && in->temperature != 1)
        for (size_t i = 0; i < n * width; i++)
            logits[i] = (float)((double)logits[i] / in->temperature);
    mete_log_softmax_run(logits, n, width, in->action_mask ? in->action_mask + from * width : NULL);
    for (size_t i = 0; i < n; i++) {
        const float *row = logits + i * width;
        mete_rng rng = mete_random(cx, in->episode[from + i], in->step[from + i]);
        size_t action = mete_draw(row, width, greedy, &rng);
        out->action[from + i] = (int32_t)action;
        out->logp[from + i] = row[action];
    }
}

static void
act_normal(mete_ctx *cx, const struct mlp *p, const mete_lanes *in, const float *vector,
           size_t from, size_t n, const float *mean, mete_actions *out)
{
    size_t width = p->outputs;
    int greedy = (in->mode & METE_ACT_GREEDY) != 0;
    double shift = !greedy && in->temperature > 0 ? log(in->temperature) : 0;
    for (size_t i = 0; i < n; i++) {
        mete_rng rng = mete_random(cx, in->episode[from + i], in->step[from + i]);
        double logp = 0;
        for (size_t k = 0; k < width; k++) {
            double log_sd = (double)vector[p->log_std_at + k] + shift;
            float centre = mean[i * width + k];
            float action = greedy ? centre : centre + (float)(exp(log_sd) * mete_rng_normal(&rng));
            double z = (double)(action - centre) * exp(-log_sd);
            logp -= 0.5 * z * z + log_sd + HALF_LOG_2PI;
            out->vector[(from + i) * width + k] = action;
        }
        out->logp[from + i] = (float)logp;
    }
}

/* Lanes [from, from + n), all with one vector of parameters. */
static void
act_span(mete_ctx *cx, const struct mlp *p, const mete_lanes *in, const float *vector, size_t from,
         size_t n, float *const room[3], mete_actions *out)
{
    mete_activation act = activation_of(p);
    const float *x = in->observation + from * in->observation_size;
    float *const pair[] = {room[0], room[1]};
    if (p->one_hot) {
        spread_one_hot(x, n, p->inputs, room[2]);
        x = room[2];
    }
    size_t last = p->actor.layers - 1;
    const float *trunk = run_layers(&p->actor, 0, last, vector, x, n, act, pair);
    if (p->critic && p->shared)
        mete_dense_run(trunk, n, p->value.in[0], vector + p->value.weight[0],
                       vector + p->value.bias[0], p->value.out[0], METE_LINEAR,
                       out->value + from * out->heads);
    float *head = pair[last & 1];
    run_layers(&p->actor, last, last + 1, vector, trunk, n, act, pair);
    if (p->normal)
        act_normal(cx, p, in, vector, from, n, head, out);
    else
        act_categorical(cx, p, in, from, n, head, out);
    if (p->critic && !p->shared) {
        const float *value = run_layers(&p->value, 0, p->value.layers, vector, x, n, act, pair);
        memcpy(out->value + from * out->heads, value, n * out->heads * sizeof *value);
    }
}

static int
act(mete_ctx *cx, const void *self, const mete_params *params, const mete_lanes *in,
    mete_actions *out)
{
    const struct mlp *p = self;
    uint32_t seen = p->one_hot ? 1 : p->inputs;
    if (!in->count)
        return METE_OK;
    if (!in->observation || in->observation_size != seen)
        return mete_fail(cx, METE_EPLUGIN, "was shown %u numbers a lane and was made for %u",
                         in->observation ? in->observation_size : 0, seen);
    size_t bytes = in->count * widest(p) * sizeof(float);
    float *const room[] = {mete_arena(cx, bytes), mete_arena(cx, bytes),
                           p->one_hot ? mete_arena(cx, bytes) : NULL};
    if (!room[0] || !room[1] || (p->one_hot && !room[2]))
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu lanes", in->count);
    if (!params->lane) {
        act_span(cx, p, in, params->vector, 0, in->count, room, out);
        return METE_OK;
    }
    for (size_t from = 0, to; from < in->count; from = to) {
        for (to = from + 1; to < in->count && params->lane[to] == params->lane[from];)
            to++;
        act_span(cx, p, in, params->lane[from], from, to - from, room, out);
    }
    return METE_OK;
}

/* ---- learning -------------------------------------------------------------------------------- */

static mete_var *
tape_layers(mete_tape *tape, const struct net *net, size_t from, size_t to, const float *vector,
            mete_var *x, mete_activation act)
{
    for (size_t k = from; k < to; k++)
        x = mete_dense(tape, x, mete_weights(tape, vector, net->weight[k], net->out[k], net->in[k]),
                       mete_weights(tape, vector, net->bias[k], 1, net->out[k]),
                       k + 1 < net->layers ? act : METE_LINEAR);
    return x;
}

static void
entropy_back(mete_tape *tape, mete_var *y, mete_var *const *input, void *memory)
{
    float *grad = mete_grad_of(tape, input[0]), sum = 0;
    (void)memory;
    for (size_t i = 0; i < y->rows; i++)
        sum += y->grad[i];
    for (size_t k = 0; grad && k < input[0]->columns; k++)
        grad[k] += sum;
}

/* Entropy of the normal, the same for every step: sum of log deviations + d/2 log(2 pi e). */
static mete_var *
normal_entropy(mete_tape *tape, mete_var *log_sd, size_t n)
{
    mete_var *y = mete_custom(tape, n, 1, entropy_back, &log_sd, 1, NULL);
    double sum = 0;
    for (size_t k = 0; log_sd && k < log_sd->columns; k++)
        sum += (double)log_sd->data[k] + HALF_LOG_2PI + 0.5;
    for (size_t i = 0; y && i < n; i++)
        y->data[i] = (float)sum;
    return y;
}

/* Rows of `from` named by the query, on the tape; the batch's own where it asks for all. */
static const void *
gather(mete_tape *tape, const mete_query *query, const void *from, size_t bytes)
{
    if (!query->step || !from)
        return from;
    char *out = mete_tape_take(tape, query->count * bytes);
    for (size_t i = 0; out && i < query->count; i++)
        memcpy(out + i * bytes, (const char *)from + query->step[i] * bytes, bytes);
    return out;
}

static mete_var *
tape_input(mete_tape *tape, const struct mlp *p, const mete_query *query)
{
    const mete_batch *batch = query->batch;
    size_t width = batch->observation_size;
    const float *x = gather(tape, query, batch->observation, width * sizeof(float));
    if (x && p->one_hot) {
        float *spread = mete_tape_take(tape, query->count * p->inputs * sizeof *spread);
        if (spread)
            spread_one_hot(x, query->count, p->inputs, spread);
        x = spread;
    }
    return x ? mete_input(tape, x, query->count, p->inputs) : NULL;
}

static void
tape_answers(mete_tape *tape, const struct mlp *p, const mete_query *query, const float *vector,
             mete_var *x, mete_answers *a)
{
    const mete_batch *batch = query->batch;
    mete_activation act = activation_of(p);
    size_t last = p->actor.layers - 1, n = query->count;
    int wants_policy = (query->want & ~METE_WANT_VALUE) != 0;
    mete_var *trunk =
        wants_policy || p->shared ? tape_layers(tape, &p->actor, 0, last, vector, x, act) : NULL;
    if (p->critic && query->want & METE_WANT_VALUE)
        a->value =
            tape_layers(tape, &p->value, 0, p->value.layers, vector, p->shared ? trunk : x, act);
    if (!wants_policy)
        return;
    mete_var *head = tape_layers(tape, &p->actor, last, last + 1, vector, trunk, act);
    if (p->normal) {
        mete_var *log_sd = mete_weights(tape, vector, p->log_std_at, 1, p->outputs);
        double temperature = mete_query_temperature(query);
        if (temperature < 1 || temperature > 1)
            log_sd = mete_affine(tape, log_sd, 1, (float)log(temperature));
        const float *action = gather(tape, query, batch->action_vector, p->outputs * sizeof(float));
        if (query->want & METE_WANT_LOGP && action)
            a->logp = mete_normal_logp(tape, head, log_sd, action);
        if (query->want & METE_WANT_ENTROPY)
            a->entropy = normal_entropy(tape, log_sd, n);
        return;
    }
    const uint8_t *mask = gather(tape, query, batch->action_mask, p->outputs);
    a->logits = mete_query_logits(tape, query, head, mask);
    const int32_t *action = gather(tape, query, batch->action, sizeof(int32_t));
    if (query->want & METE_WANT_LOGP && action)
        a->logp = mete_pick(tape, a->logits, action);
    if (query->want & METE_WANT_ENTROPY)
        a->entropy = mete_entropy(tape, a->logits);
}

static int
forward(mete_ctx *cx, const void *self, const mete_params *params, const mete_query *query,
        mete_outputs *out, mete_tape *tape)
{
    const struct mlp *p = self;
    const mete_batch *batch = query->batch;
    uint32_t seen = p->one_hot ? 1 : p->inputs;
    if (!batch->observation || batch->observation_size != seen)
        return mete_fail(cx, METE_EPLUGIN, "was shown %u numbers a step and was made for %u",
                         batch->observation ? batch->observation_size : 0, seen);
    if (query->want & METE_WANT_LOGP &&
        !(p->normal ? (const void *)batch->action_vector : (const void *)batch->action))
        return mete_fail(cx, METE_EPLUGIN, "was asked about steps without actions");
    mete_answers a = {0};
    tape_answers(tape, p, query, params->vector, tape_input(tape, p, query), &a);
    return mete_answers_give(cx, tape, &a, out);
}

static int
backward(mete_ctx *cx, const void *self, const mete_params *params, const mete_query *query,
         const mete_outputs *adjoint, mete_tape *tape, float *grad)
{
    (void)self;
    (void)params;
    (void)query;
    return mete_answers_back(cx, tape, adjoint, grad);
}

METE_POLICY_PLUGIN(
    mlp, "1.0", "actor and critic as multilayer perceptrons",
    .doc = "Discrete (masked) and continuous actions. Hidden layers start orthogonal "
           "with gain sqrt 2, the policy's output with 0.01, the critic's with 1.",
    .reference = "Schulman et al. 2017, arXiv:1707.06347; Andrychowicz et al. 2021, "
                 "arXiv:2006.05990",
    .tags = "control discrete continuous actor-critic", .options = options,
    .state_size = sizeof(struct mlp), .element = METE_F32, .flags = METE_SAMPLES, .open = open_mlp,
    .describe = describe, .act = act, .forward = forward, .backward = backward);
