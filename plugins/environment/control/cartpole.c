/* cartpole - a pole on a cart, to be kept upright by pushing left or right.
 *
 * The equations of Barto, Sutton & Anderson (1983), "Neuronlike adaptive elements that can solve
 * difficult learning control problems", IEEE SMC 13(5), Euler steps of 0.02 s, with the constants,
 * thresholds, start distribution and 500-step limit of Gymnasium's CartPole-v1:
 *
 *   temp   = (F + m_p l theta'^2 sin theta) / m
 *   theta''= (g sin theta - cos theta temp) / (l (4/3 - m_p cos^2 theta / m))
 *   x''    = temp - m_p l theta'' cos theta / m
 *
 * State is structure-of-arrays so that the step of many lanes is one vectorised loop; the few lanes
 * that end are started anew in a second pass. float32 throughout.
 */
#include <math.h>
#include <mete/environment.h>
#include <string.h>

#define GRAVITY 9.8f
#define POLE_MASS 0.1f
#define PER_MASS (1 / 1.1f) /* of cart and pole; a product costs a tenth of a division */
#define HALF_LENGTH 0.5f
#define TAU 0.02f
#define X_LIMIT 2.4f
#define THETA_LIMIT 0.20943951f /* 12 degrees */

struct cartpole {
    int64_t max_steps;
    double force;
    size_t lanes;
    float *x, *speed, *angle, *spin; /* [lanes] */
    uint32_t *age;                   /* [lanes] steps since the start */
    uint64_t key;
};

/* What copy and restore move. */
struct lane {
    float x, speed, angle, spin;
    uint32_t age;
};

static const mete_option options[] = {
    METE_INT(struct cartpole, max_steps, 500, 1, 1000000000, "steps after which an episode is cut"),
    METE_REAL(struct cartpole, force, 10, 0.1, 1000, "size of a push, in newtons"),
    METE_OPTIONS_END};

static int
spaces(mete_ctx *cx, void *self, size_t lanes, mete_spaces *out)
{
    struct cartpole *p = self;
    float **array[] = {&p->x, &p->speed, &p->angle, &p->spin};
    for (size_t i = 0; i < 4; i++)
        if (!(*array[i] = mete_alloc(cx, lanes * sizeof(float))))
            return mete_fail(cx, METE_ENOMEM, "out of memory for %zu lanes", lanes);
    if (!(p->age = mete_alloc(cx, lanes * sizeof *p->age)))
        return mete_fail(cx, METE_ENOMEM, "out of memory for %zu lanes", lanes);
    p->lanes = lanes;
    p->key = mete_key(cx);
    out->observation = (mete_space){METE_SPACE_BOX, 0, 4, -INFINITY, INFINITY};
    out->action = (mete_space){METE_SPACE_DISCRETE, 2, 0, 0, 1};
    out->max_steps = (uint32_t)p->max_steps;
    return METE_OK;
}

/* 32 random bits as a number in [-0.05, 0.05). */
static inline float
start_value(uint64_t bits)
{
    return (float)(uint32_t)(bits >> 40) * (0.1f / 16777216.0f) - 0.05f;
}

static inline void
start(struct cartpole *p, size_t i, uint64_t episode, float *restrict observation)
{
    uint64_t a = mete_mix64(p->key + episode * UINT64_C(0x9e3779b97f4a7c15));
    uint64_t b = mete_mix64(a + 1);
    p->x[i] = start_value(a);
    p->speed[i] = start_value(a << 24);
    p->angle[i] = start_value(b);
    p->spin[i] = start_value(b << 24);
    p->age[i] = 0;
    observation[0] = p->x[i];
    observation[1] = p->speed[i];
    observation[2] = p->angle[i];
    observation[3] = p->spin[i];
}

static int
reset(mete_ctx *cx, void *self, const mete_reset *in, mete_observations *out)
{
    struct cartpole *p = self;
    for (size_t k = 0; k < in->count; k++) {
        if (in->lane[k] >= p->lanes)
            return mete_fail(cx, METE_EPLUGIN, "lane %u of %zu", in->lane[k], p->lanes);
        start(p, in->lane[k], in->episode[k], out->observation + 4 * in->lane[k]);
    }
    return METE_OK;
}

/* sin and cos for |x| < 1: Taylor to x^9, below float32's rounding over the angles that occur (an
 * episode ends past 0.21). */
static inline float
small_sin(float x)
{
    float s = x * x;
    return x * (1 + s * (-1.6666667e-1f +
                         s * (8.3333333e-3f + s * (-1.9841270e-4f + s * 2.7557319e-6f))));
}

static inline float
small_cos(float x)
{
    float s = x * x;
    return 1 + s * (-0.5f + s * (4.1666668e-2f + s * (-1.3888889e-3f + s * 2.4801587e-5f)));
}

/* Arrays do not overlap. */
METE_WIDE static void
step_all(size_t lanes, float force, uint32_t max_steps, const int32_t *restrict action,
         float *restrict x, float *restrict speed, float *restrict angle, float *restrict spin,
         uint32_t *restrict age, float *restrict observation, float *restrict reward,
         uint8_t *restrict terminated, uint8_t *restrict truncated)
{
    for (size_t i = 0; i < lanes; i++) {
        float push = action[i] ? force : -force;
        float sine = small_sin(angle[i]), cosine = small_cos(angle[i]);
        float temp = (push + POLE_MASS * HALF_LENGTH * spin[i] * spin[i] * sine) * PER_MASS;
        float bend =
            (GRAVITY * sine - cosine * temp) /
            (HALF_LENGTH * (4.0f / 3.0f) - HALF_LENGTH * POLE_MASS * PER_MASS * cosine * cosine);
        float rush = temp - POLE_MASS * HALF_LENGTH * PER_MASS * bend * cosine;
        x[i] += TAU * speed[i];
        speed[i] += TAU * rush;
        angle[i] += TAU * spin[i];
        spin[i] += TAU * bend;
        age[i]++;
    }
    for (size_t i = 0; i < lanes; i++) {
        observation[4 * i] = x[i];
        observation[4 * i + 1] = speed[i];
        observation[4 * i + 2] = angle[i];
        observation[4 * i + 3] = spin[i];
    }
    for (size_t i = 0; i < lanes; i++) {
        unsigned fell = (fabsf(x[i]) > X_LIMIT) | (fabsf(angle[i]) > THETA_LIMIT);
        unsigned old = (age[i] >= max_steps) & (fell ^ 1);
        terminated[i] = (uint8_t)fell;
        truncated[i] = (uint8_t)old;
        reward[i] = 1;
    }
}

/* Bit k: lane from + k ended. Up to 64 lanes; each byte is 0 or 1. */
static uint64_t
ended_lanes(const mete_transitions *out, size_t from, size_t count)
{
    uint64_t mask = 0;
    for (size_t k = 0; k < count; k += 8) {
        size_t left = count - k < 8 ? count - k : 8;
        uint64_t fell = 0, cut = 0;
        memcpy(&fell, out->terminated + from + k, left);
        memcpy(&cut, out->truncated + from + k, left);
        /* the product puts byte i's bit at 56 + i */
        mask |= (((fell | cut) * UINT64_C(0x0102040810204080)) >> 56) << k;
    }
    return mask;
}

static void
restart(struct cartpole *p, size_t i, float *observation, mete_transitions *out)
{
    memcpy(out->final_observation + 4 * i, observation + 4 * i, 4 * sizeof(float));
    out->episode[i] += out->stride;
    out->task[i] += out->task_stride;
    start(p, i, out->episode[i], observation + 4 * i);
}

METE_WIDE static uint32_t
bits_of(const int32_t *action, size_t lanes)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < lanes; i++)
        bits |= (uint32_t)action[i];
    return bits;
}

static int
step(mete_ctx *cx, void *self, const mete_actions *in, mete_transitions *out)
{
    struct cartpole *p = self;
    float *observation = out->next->observation;
    if (bits_of(in->action, p->lanes) > 1)
        return mete_fail(cx, METE_EINVAL, "an action must be 0 (left) or 1 (right)");
    step_all(p->lanes, (float)p->force, (uint32_t)p->max_steps, in->action, p->x, p->speed,
             p->angle, p->spin, p->age, observation, out->reward, out->terminated, out->truncated);
    for (size_t from = 0; from < p->lanes; from += 64) {
        size_t count = p->lanes - from < 64 ? p->lanes - from : 64;
        for (uint64_t mask = ended_lanes(out, from, count); mask; mask &= mask - 1)
            restart(p, from + (size_t)__builtin_ctzll(mask), observation, out);
    }
    return METE_OK;
}

static int
copy(mete_ctx *cx, const void *self, size_t lane, void *bytes)
{
    const struct cartpole *p = self;
    struct lane at = {p->x[lane], p->speed[lane], p->angle[lane], p->spin[lane], p->age[lane]};
    (void)cx;
    memcpy(bytes, &at, sizeof at);
    return METE_OK;
}

static int
restore(mete_ctx *cx, void *self, size_t lane, const void *bytes, mete_observations *out)
{
    struct cartpole *p = self;
    struct lane at;
    (void)cx;
    memcpy(&at, bytes, sizeof at);
    p->x[lane] = out->observation[4 * lane] = at.x;
    p->speed[lane] = out->observation[4 * lane + 1] = at.speed;
    p->angle[lane] = out->observation[4 * lane + 2] = at.angle;
    p->spin[lane] = out->observation[4 * lane + 3] = at.spin;
    p->age[lane] = at.age;
    return METE_OK;
}

METE_ENVIRONMENT_PLUGIN(
    cartpole, "1.0", "balance a pole on a cart (as Gymnasium's CartPole-v1)",
    .doc = "The observation is position, speed, angle and angular speed. Action 0 pushes left, 1\n"
           "right. Every step gives 1. The episode ends when the cart leaves +-2.4 m or the pole\n"
           "leans more than 12 degrees, and is cut after max_steps; it is solved when the mean\n"
           "return over 100 episodes reaches 475.",
    .reference = "Barto, Sutton & Anderson 1983, IEEE SMC 13(5):834-846", .options = options,
    .state_size = sizeof(struct cartpole), .lane_size = sizeof(struct lane), .spaces = spaces,
    .reset = reset, .step = step, .copy = copy, .restore = restore);
