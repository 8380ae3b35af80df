/* tokeniser.c - mete tokeniser train|encode|decode: vocabularies from text, token numbers and back.
 */
#include "cli/cli.h"

#include <errno.h>
#include <mete/tokeniser.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BYTES ((size_t)1 << 30)

static const char usage[] =
    "usage: mete tokeniser train FILE... --vocab N [--kind KIND] [--split NAME] [--out FILE]\n"
    "       mete tokeniser encode TOKENIZER [--in FILE] [--out FILE] [--json]\n"
    "       mete tokeniser decode TOKENIZER [--in FILE] [--out FILE]\n\n"
    "train learns a byte-level BPE, or the most frequent words, from text files (plain or gzip) "
    "and\n"
    "writes its tokenizer.json.\n"
    "encode writes the token numbers of a text; special tokens written in it are recognised.\n"
    "decode writes the text of token numbers, byte for byte.\n\n"
    "  --vocab N     tokens to learn, <|endoftext|> (number 0) and BPE's 256 bytes among them\n"
    "  --kind KIND   bpe (default), or words: other words are <|unknown|> (number 1)\n"
    "  --split NAME  how text is cut into pieces: gpt2 (default), llama3, qwen2 or none\n"
    "  --in FILE     the text, or the numbers (default: standard input)\n"
    "  --out FILE    where the result goes (default: standard output)\n"
    "  --json        encode: one array [start, end, number] for each token, a line each\n";

static int
complain(const mete_error *err)
{
    mete__say("%s", err->message);
    return mete__exit_of(err->code);
}

static int
write_result(const char *path, const mete_buffer *result)
{
    FILE *file = path ? fopen(path, "wb") : stdout;
    bool good =
        file && fwrite(result->data ? result->data : "", 1, result->length, file) == result->length;
    if (path && file && fclose(file))
        good = false;
    if (good)
        return METE__EXIT_DONE;
    mete__say("%s: cannot write: %s", path ? path : "standard output", strerror(errno));
    return METE__EXIT_FAILED;
}

/* ---- train ----------------------------------------------------------------------------------- */

static int
split_of(const char *name, mete_split *split)
{
    static const char *const names[] = {"none", "gpt2", "llama3", "qwen2"};
    *split = METE_SPLIT_GPT2;
    for (size_t i = 0; name && i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) {
            *split = (mete_split)i;
            return METE__EXIT_DONE;
        }
    return name ? mete__misused("tokeniser", "--split is none, gpt2, llama3 or qwen2, not \"%s\"",
                                name)
                : METE__EXIT_DONE;
}

static int
learn(const mete__args *args, const mete_text *text, size_t texts, mete_split split)
{
    static const char *const special[] = {"<|endoftext|>", "<|unknown|>"};
    bool words = args->method && strcmp(args->method, "words") == 0;
    mete_error err = {0};
    mete_buffer out = {0};
    mete_token_plan plan = {.size = sizeof plan,
                            .vocabulary = (size_t)args->vocab,
                            .split = split,
                            .special = special,
                            .specials = words ? 2 : 1,
                            .kind = words ? METE_TOKENS_WORDS : METE_TOKENS_BPE,
                            .unknown = 1};
    mete_tokeniser *t = mete_tokeniser_train(text, texts, &plan, &err);
    if (!t)
        return complain(&err);
    int code = mete_tokeniser_write(t, &out) ? METE__EXIT_FAILED : write_result(args->out, &out);
    if (code == METE__EXIT_DONE && mete_tokeniser_size(t) < plan.vocabulary)
        mete__say("the text gives %zu tokens, not %zu: no %s is left", mete_tokeniser_size(t),
                  plan.vocabulary, words ? "word" : "pair");
    mete_buffer_free(&out);
    mete_tokeniser_free(t);
    return code;
}

static int
train(const mete__args *args)
{
    mete_split split;
    size_t files = args->operands - 1;
    int code = split_of(args->split, &split);
    if (code)
        return code;
    if (args->method && strcmp(args->method, "bpe") && strcmp(args->method, "words"))
        return mete__misused("tokeniser", "--kind is bpe or words, not \"%s\"", args->method);
    if (!args->vocab || !files)
        return mete__misused("tokeniser", "train wants %s", files ? "--vocab N" : "text files");
    mete_buffer *bytes = calloc(files, sizeof *bytes);
    mete_text *text = calloc(files, sizeof *text);
    code = bytes && text ? METE__EXIT_DONE : METE__EXIT_FAILED;
    for (size_t i = 0; i < files && !code; i++) {
        mete_error err = {0};
        if (mete_file_read(args->operand[i + 1], MOST_BYTES, &bytes[i], &err))
            code = complain(&err);
        else
            text[i] = mete_buffer_view(&bytes[i]);
    }
    if (!code)
        code = learn(args, text, files, split);
    for (size_t i = 0; bytes && i < files; i++)
        mete_buffer_free(&bytes[i]);
    free(bytes);
    free(text);
    return code;
}

/* ---- encode, decode -------------------------------------------------------------------------- */

static int
encode(const mete_tokeniser *t, mete_text text, bool json, mete_buffer *out, mete_error *err)
{
    mete_tokens tokens = {0};
    int status = mete_tokeniser_encode(t, text, METE_ENCODE_SPECIALS, &tokens, err);
    for (size_t i = 0; i < tokens.count && !status; i++)
        if (json)
            mete_buffer_format(out, "[%u,%u,%d]\n", tokens.start[i], tokens.end[i], tokens.id[i]);
        else
            mete_buffer_format(out, i ? " %d" : "%d", tokens.id[i]);
    if (!json)
        mete_buffer_byte(out, '\n');
    mete_tokens_free(&tokens);
    return status ? status : out->status;
}

/* Numbers between white space. */
static int
decode(const mete_tokeniser *t, mete_text text, mete_buffer *out, mete_error *err)
{
    for (size_t at = 0; at < text.length;) {
        if (strchr(" \t\r\n", text.data[at]) && text.data[at]) {
            at++;
            continue;
        }
        size_t from = at;
        int32_t id = 0;
        for (; at < text.length && text.data[at] >= '0' && text.data[at] <= '9' &&
               id < METE_TOKENS_MOST;
             at++)
            id = 10 * id + (text.data[at] - '0');
        if (from == at ||
            (at < text.length && (!text.data[at] || !strchr(" \t\r\n", text.data[at]))))
            return mete_error_set(err, METE_EDATA,
                                  "byte %zu: decode wants token numbers between spaces", from + 1);
        int status = mete_tokeniser_decode(t, &id, 1, 0, out, err);
        if (status)
            return status;
    }
    return METE_OK;
}

static int
convert(const mete__args *args, bool back)
{
    mete_error err = {0};
    mete_buffer in = {0}, out = {0};
    if (args->operands != 2)
        return mete__misused("tokeniser", "%s wants one TOKENIZER", args->operand[0]);
    mete_tokeniser *t = mete_tokeniser_open(args->operand[1], &err);
    int status = t ? mete_file_read(args->in ? args->in : "-", MOST_BYTES, &in, &err) : err.code;
    if (!status)
        status = back ? decode(t, mete_buffer_view(&in), &out, &err)
                      : encode(t, mete_buffer_view(&in), args->json, &out, &err);
    if (status && !err.message[0])
        mete_error_set(&err, status, "out of memory");
    int code = status ? complain(&err) : write_result(args->out, &out);
    mete_buffer_free(&in);
    mete_buffer_free(&out);
    mete_tokeniser_free(t);
    return code;
}

int
mete__command_tokeniser(int argc, char **argv)
{
    mete__args args;
    int code;
    const char *takes = "in out json vocab split kind";
    if (!mete__args_read(argc, argv, takes, 2, 4096, usage, &args, &code))
        return code;
    const char *what = args.operand[0];
    if (strcmp(what, "train") == 0)
        code = train(&args);
    else if (strcmp(what, "encode") == 0 || strcmp(what, "decode") == 0)
        code = convert(&args, *what == 'd');
    else
        code = mete__misused("tokeniser", "\"%s\" is not train, encode or decode", what);
    mete__args_free(&args);
    return code;
}
