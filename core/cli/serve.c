/* serve.c - mete serve CONFIG: the config's reward tree behind HTTP. */
#include "cli/cli.h"
#include "serve/serve.h"

static const char usage[] =
    "usage: mete serve CONFIG [--set PATH=VALUE]... [--seed N] [--threads N]\n\n"
    "Answers reward requests over HTTP with CONFIG's reward tree, in the protocols of OpenRLHF,\n"
    "slime, eval-protocol, NeMo-Gym, vLLM, SGLang and TEI, and in its own: POST /v1/score. GET /\n"
    "is a page to try it, /openapi.json says what there is, /metrics has figures, /health is "
    "open.\n"
    "A score has the bits that `mete score` gives the record. SIGHUP reads the config anew (a bad\n"
    "one changes nothing); SIGTERM answers what is under way and ends.\n\n"
    "serve = { host = \"127.0.0.1\"; port = 5000; }; in CONFIG says where, and what else there is\n"
    "(mete.cfg(5)): batch, wait, queue, deadline, body_mib, missing, label, token_file and more.\n"
    "The token that clients must send may also stand in METE_SERVE_TOKEN.\n\n"
    "  --set serve.port=0  any free port; it is told on standard error\n"
    "  --threads N         trees that score side by side, each with a thread\n";

int
mete__command_serve(int argc, char **argv)
{
    mete__args args;
    int code;
    if (!mete__args_read(argc, argv, "set seed threads", 1, 1, usage, &args, &code))
        return code;
    mete__config *config = mete__read_config(&args, args.operand[0]);
    mete__server server = {.config = args.operand[0], .set = args.set, .sets = args.sets};
    mete__engine_options engine = {.seed = 1, .threads = 1, .log = mete__log_stderr};
    mete__errors errors = {0};
    code = METE__EXIT_INPUT;
    if (config) {
        server.options.threads = mete__threads(&args, config, &errors);
        if (mete__serve_options_read(config, &server.options, &errors))
            code = mete__exit_of(mete__serve(&server, &engine));
        mete__report(&errors);
        mete__serve_options_free(&server.options);
        mete__config_free(config);
    }
    mete__args_free(&args);
    return code;
}
