/* generate.c - mete generate CONFIG: prompts in, samples out, from the config's policy, a run's
 * newest checkpoint, or any model the config names. Prompts are streamed: memory is a chunk's.
 *
 * What a model says is untrusted: printed plainly, its control characters are escaped, so that none
 * reaches a terminal.
 */
#include "base/arena.h"
#include "cli/train.h"
#include "text/reader.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <mete/model.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char usage[] =
    "usage: mete generate CONFIG|DIR [--prompt TEXT | --file FILE] [--model NAME] [--n N]\n"
    "                     [--temperature T] [--max-tokens N] [--out FILE] [--set PATH=VALUE]...\n"
    "                     [--seed N] [--threads N] [--json] [--quiet]\n\n"
    "Asks a model and prints what it answers. DIR is a run's folder: its policy answers as of the\n"
    "newest checkpoint. With CONFIG, the policy answers as it begins.\n\n"
    "  --prompt TEXT    the prompt\n"
    "  --file FILE      prompts: JSONL, CSV or TSV, plain or gzip, or - for standard input; a\n"
    "                   record has \"prompt\", or \"messages\" ([{\"role\", \"content\"}, ...]), "
    "and "
    "may\n"
    "                   have an \"id\"\n"
    "  --model NAME     one of the config's models (default: policy)\n"
    "  --n N            samples for each prompt (default 1)\n"
    "  --temperature T  of sampling (default 1; 0: the most probable tokens)\n"
    "  --max-tokens N   longest answer (default: the model's own limit)\n"
    "  --out FILE       where samples go (default: standard output)\n"
    "  --json           a line of JSON for each sample, which mete score reads: id or row,\n"
    "                   sample, prompt (the last message), response, finish, logp, tokens and\n"
    "                   cost; or status and reason where there is no answer\n"
    "  --quiet          no summary\n\n"
    "Exit code 1 when a prompt had no answer.\n";

#define CHUNK 256 /* prompts asked about at once, unless --n makes them more */
#define MOST_SAMPLES 4096

/* What was read of one record. */
struct prompt {
    mete_message *message;
    uint32_t messages;
    mete_text id; /* as JSON; empty: none */
};

struct generator {
    const mete__args *args;
    mete__training training; /* engine, and the loop behind a trained policy */
    mete_node *model;
    mete__arena *arena;
    struct prompt *prompt;
    mete_request *request;
    size_t prompts;
    uint64_t row; /* records before this chunk */
    uint64_t answered, failed, cached, words_in, words_out;
    double cost;
    mete_buffer out;
    FILE *to;
};

/* ---- which model ----------------------------------------------------------------------------- */

static int
find_model(struct generator *g, const char *name)
{
    mete__engine *engine = g->training.engine;
    char path[512];
    snprintf(path, sizeof path, "models.%s", name);
    g->model =
        strcmp(name, "policy") ? mete__engine_find(engine, path) : mete__engine_policy(engine);
    if (g->model)
        return METE__EXIT_DONE;
    char names[2048] = "policy";
    size_t count, used = strlen(names);
    mete_node *const *node = mete__engine_nodes(engine, &count);
    for (size_t i = 0; i < count; i++)
        if (strncmp(node[i]->path, "models.", 7) == 0 && !strchr(node[i]->path + 7, '.') &&
            used < sizeof names)
            used += (size_t)snprintf(names + used, sizeof names - used, ", %s", node[i]->path + 7);
    mete__say("%s names no model '%s'; there are %s", g->args->operand[0], name, names);
    return METE__EXIT_INPUT;
}

/* A named model needs no loop; nor does a policy without an environment to be trained in. */
static bool
open_engine(struct generator *g)
{
    mete__errors errors = {0};
    mete__run_options_read(g->args, g->training.config, &g->training.options, &errors);
    mete__engine_options options = {.seed = g->training.options.seed,
                                    .threads = g->training.options.threads,
                                    .log = mete__log_stderr};
    g->training.engine = mete__engine_open(g->training.config, &options, &errors);
    if (errors.count)
        mete__report(&errors);
    return g->training.engine != NULL && !errors.count;
}

static int
open_model(struct generator *g, const char *folder)
{
    const char *name = g->args->model ? g->args->model : "policy";
    mete__value *root = mete__config_root(g->training.config);
    bool trained = strcmp(name, "policy") == 0 && mete__value_get(root, "env");
    if (folder && !trained) {
        mete__say("%s: a run's folder answers by its policy; give the config for the model '%s'",
                  folder, name);
        return METE__EXIT_INPUT;
    }
    if (!(trained ? mete__training_open(&g->training) : open_engine(g)))
        return METE__EXIT_INPUT;
    int code = find_model(g, name);
    if (!code && folder)
        code = mete__training_load(&g->training, folder);
    else if (!code && trained)
        code = mete__begin_from(g->training.loop, g->training.config);
    if (!code && trained)
        mete__loop_announce(g->training.loop);
    return code;
}

/* ---- prompts --------------------------------------------------------------------------------- */

static mete_text
keep(struct generator *g, mete_text text)
{
    char *copy = mete__arena_string(g->arena, text.data, text.length);
    return (mete_text){copy, copy ? text.length : 0};
}

static int
speaker_of(mete_text role)
{
    static const char *const names[] = {"system", "user", "assistant", "tool"};
    for (int i = 0; i < 4; i++)
        if (mete_text_is(role, names[i]))
            return i;
    return -1;
}

/* A sentence without a place, or NULL. */
static const char *
take_messages(struct generator *g, struct prompt *prompt, mete_text text)
{
    mete_error err = {0};
    mete_json *all = mete_json_parse(text, &err);
    size_t count = mete_json_count(all);
    const char *fault = NULL;
    prompt->message = mete__arena_zero(g->arena, (count + 1) * sizeof *prompt->message);
    if (mete_json_kind(all) != METE_JSON_ARRAY || !count || count > 100000)
        fault = "a list of messages must have some, at most 100000";
    else if (!prompt->message)
        fault = "out of memory";
    prompt->messages = 0;
    for (const mete_json *item = mete_json_first(all); item && !fault;
         item = mete_json_next(item)) {
        int speaker = speaker_of(mete_json_text(mete_json_get(item, "role")));
        const mete_json *content = mete_json_get(item, "content");
        if (speaker < 0 || mete_json_kind(content) != METE_JSON_STRING)
            fault = "a message must have a \"role\" (system, user, assistant or tool) and a text "
                    "\"content\"";
        else
            prompt->message[prompt->messages++] =
                (mete_message){(uint32_t)speaker, 0, keep(g, mete_json_text(content))};
    }
    mete_json_free(all);
    return fault;
}

static const char *
take_prompt(struct generator *g, struct prompt *prompt, mete_text text)
{
    prompt->message = mete__arena_zero(g->arena, sizeof *prompt->message);
    prompt->messages = 1;
    if (!prompt->message)
        return "out of memory";
    *prompt->message = (mete_message){METE_USER, 0, keep(g, text)};
    return NULL;
}

static const char *
take_record(struct generator *g, const mete__record *record)
{
    struct prompt *prompt = &g->prompt[g->prompts];
    const mete__field *text = mete__record_find(record, mete_text_from("prompt"));
    const mete__field *messages = mete__record_find(record, mete_text_from("messages"));
    const mete__field *id = mete__record_find(record, mete_text_from("id"));
    mete_buffer json = mete_buffer_make(0);
    prompt->id = (mete_text){NULL, 0};
    if (id) {
        if (id->type == METE_JSON_STRING)
            mete_json_put_text(&json, id->text);
        else
            mete_buffer_text(&json, id->text);
        prompt->id = keep(g, mete_buffer_view(&json));
    }
    mete_buffer_free(&json);
    if (!messages && text && text->type == METE_JSON_ARRAY)
        messages = text;
    if (messages && messages->type == METE_JSON_ARRAY)
        return take_messages(g, prompt, messages->text);
    if (text && text->type == METE_JSON_STRING)
        return take_prompt(g, prompt, text->text);
    return "a record must have a \"prompt\", a text or messages, or a list \"messages\"";
}

/* ---- answers --------------------------------------------------------------------------------- */

static void
put_member(mete_buffer *out, const char *name, mete_text text)
{
    mete_buffer_format(out, ",\"%s\":", name);
    mete_json_put_text(out, text);
}

static void
put_json(mete_buffer *out, const struct prompt *prompt, uint64_t row, size_t sample,
         const mete_reply *reply)
{
    static const char *const finish[] = {"stop", "length", "other"};
    if (prompt->id.length)
        mete_buffer_format(out, "{\"id\":%.*s", (int)prompt->id.length, prompt->id.data);
    else
        mete_buffer_format(out, "{\"row\":%" PRIu64, row);
    mete_buffer_format(out, ",\"sample\":%zu", sample);
    put_member(out, "prompt", prompt->message[prompt->messages - 1].text);
    if (reply->status != METE_VALID) {
        put_member(out, "status",
                   mete_text_from(reply->status == METE_TIMED_OUT ? "timed_out" : "failed"));
        put_member(out, "reason", reply->reason);
    } else {
        put_member(out, "response", reply->text);
        put_member(out, "finish", mete_text_from(finish[reply->finish < 2 ? reply->finish : 2]));
        if (reply->logp == reply->logp) {
            mete_buffer_string(out, ",\"logp\":");
            mete_json_put_number(out, reply->logp);
        }
        if (reply->cached)
            mete_buffer_string(out, ",\"cached\":true");
    }
    mete_buffer_format(out, ",\"prompt_tokens\":%" PRIu64 ",\"answer_tokens\":%" PRIu64,
                       reply->prompt_tokens, reply->answer_tokens);
    mete_buffer_string(out, ",\"cost\":");
    mete_json_put_number(out, reply->cost);
    mete_buffer_string(out, "}\n");
}

/* The fixed order of prompts and samples decides the seeds, so chunks change no answer. */
static void
make_requests(struct generator *g)
{
    size_t n = (size_t)g->args->n;
    for (size_t i = 0; i < g->prompts * n; i++) {
        const struct prompt *prompt = &g->prompt[i / n];
        uint64_t which = mete_hash_mix(g->row + i / n, i % n);
        g->request[i] = (mete_request){.size = sizeof *g->request,
                                       .messages = prompt->messages,
                                       .message = prompt->message,
                                       .seed = mete_hash_mix(g->training.options.seed, which),
                                       .temperature = g->args->temperature,
                                       .max_tokens = (uint32_t)g->args->max_tokens,
                                       .flags = METE_ASK_LOGP};
    }
}

static void
count(struct generator *g, const mete_reply *reply)
{
    g->answered += reply->status == METE_VALID;
    g->failed += reply->status != METE_VALID;
    g->cached += reply->cached;
    g->words_in += reply->prompt_tokens;
    g->words_out += reply->answer_tokens;
    g->cost += reply->cost;
}

/* Asks the chunk's prompts and writes their answers. */
static int
answer(struct generator *g)
{
    size_t n = (size_t)g->args->n;
    mete_error err = {0};
    make_requests(g);
    const mete_replies *got = mete__model_generate(g->model, g->request, g->prompts * n, &err);
    if (!got) {
        mete__say("%s", err.message);
        return mete__exit_of(err.code);
    }
    for (size_t i = 0; i < got->count; i++) {
        const mete_reply *reply = mete_reply_at(got, i);
        uint64_t row = g->row + i / n + 1;
        count(g, reply);
        if (g->args->json) {
            put_json(&g->out, &g->prompt[i / n], row, i % n, reply);
        } else if (reply->status == METE_VALID) {
            mete__put_plain(&g->out, reply->text, "\n\t");
            mete_buffer_byte(&g->out, '\n');
        }
        if (reply->status != METE_VALID && !g->args->json && g->failed <= 10)
            mete__say("prompt %" PRIu64 ", sample %zu: %.*s", row, i % n, (int)reply->reason.length,
                      reply->reason.data);
    }
    bool bad = g->out.status ||
               (g->out.length && fwrite(g->out.data, 1, g->out.length, g->to) != g->out.length);
    if (bad)
        mete__say("cannot write the samples: %s",
                  g->out.status ? "out of memory" : strerror(errno));
    mete_buffer_clear(&g->out);
    mete__engine_reset(g->training.engine);
    mete__arena_release(g->arena, (mete__arena_mark){0, 0});
    g->row += g->prompts;
    g->prompts = 0;
    return bad ? METE__EXIT_FAILED : METE__EXIT_DONE;
}

static int
answer_file(struct generator *g, size_t chunk)
{
    mete_error err = {0};
    mete__reader *reader = mete__reader_open(g->args->in, NULL, &err);
    int code = METE__EXIT_DONE, got = reader ? 1 : -1;
    while (got > 0 && !code) {
        const mete__record *record;
        got = mete__reader_next(reader, &record, &err);
        const char *fault = got > 0 ? take_record(g, record) : NULL;
        if (fault) {
            mete__say("%s:%" PRIu64 ": %s", mete__reader_name(reader), record->line, fault);
            code = METE__EXIT_INPUT;
        } else if (got > 0) {
            g->prompts++;
        }
        if (!code && g->prompts && (g->prompts == chunk || got == 0))
            code = answer(g);
    }
    if (got < 0 && !code) {
        mete__say("%s", err.message);
        code = METE__EXIT_INPUT;
    }
    if (reader)
        mete__reader_close(reader);
    return code;
}

static int
answer_all(struct generator *g)
{
    size_t n = (size_t)g->args->n, chunk = n < CHUNK ? CHUNK / n : 1;
    const char *out = g->args->out && strcmp(g->args->out, "-") ? g->args->out : NULL;
    g->arena = mete__arena_new();
    g->prompt = calloc(chunk, sizeof *g->prompt);
    g->request = calloc(chunk * n, sizeof *g->request);
    if (!g->arena || !g->prompt || !g->request) {
        mete__say("out of memory");
        return METE__EXIT_FAILED;
    }
    g->to = out ? fopen(out, "w") : stdout;
    if (!g->to) {
        mete__say("cannot write %s: %s", out, strerror(errno));
        return METE__EXIT_FAILED;
    }
    int code = METE__EXIT_DONE;
    if (g->args->prompt && !take_prompt(g, g->prompt, mete_text_from(g->args->prompt))) {
        g->prompts = 1;
        code = answer(g);
    } else {
        code = answer_file(g, chunk);
    }
    bool bad = fflush(g->to) != 0;
    if (out && fclose(g->to))
        bad = true;
    if (bad && !code) {
        mete__say("cannot write %s: %s", out ? out : "standard output", strerror(errno));
        code = METE__EXIT_FAILED;
    }
    return code;
}

static int
generate(struct generator *g, const char *folder)
{
    int code = open_model(g, folder);
    if (!code)
        code = answer_all(g);
    if (!code && !g->args->quiet)
        mete__say("%" PRIu64 " answers, %" PRIu64 " failed, %" PRIu64 " from a cache; %" PRIu64
                  " + %" PRIu64 " tokens, cost %g",
                  g->answered, g->failed, g->cached, g->words_in, g->words_out, g->cost);
    if (!code && g->failed)
        code = METE__EXIT_FAILED;
    if (g->arena)
        mete__arena_free(g->arena);
    free(g->prompt);
    free(g->request);
    mete_buffer_free(&g->out);
    return code;
}

int
mete__command_generate(int argc, char **argv)
{
    mete__args args;
    char path[PATH_MAX];
    struct stat st;
    int code;
    if (!mete__args_read(
            argc, argv,
            "set seed threads json out file quiet prompt model n temperature max-tokens", 1, 1,
            usage, &args, &code))
        return code;
    const char *config = args.operand[0], *folder = NULL;
    if (!args.prompt == !args.in || args.n > MOST_SAMPLES) {
        code = args.n > MOST_SAMPLES
                   ? mete__misused("generate", "--n wants at most %d samples", MOST_SAMPLES)
                   : mete__misused("generate", "give --prompt TEXT or --file FILE");
        mete__args_free(&args);
        return code;
    }
    if (!stat(config, &st) && S_ISDIR(st.st_mode)) {
        folder = config;
        snprintf(path, sizeof path, "%s/config.cfg", folder);
        config = path;
    }
    struct generator g = {.args = &args, .training = {.args = &args}};
    g.training.config = mete__read_config(&args, config);
    code = g.training.config ? generate(&g, folder) : METE__EXIT_INPUT;
    mete__training_close(&g.training);
    mete__args_free(&args);
    return code;
}
