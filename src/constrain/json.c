/* JSON (RFC 8259), with bounds where it has none: white space comes as a model would write it, numbers have as many
 * digits as a double holds, and escapes are characters, never half a surrogate pair. */
#include "constrain/constraint.h"

static const char text[] =
    "value ::= object | array | string | number | \"true\" | \"false\" | \"null\"\n"
    "object ::= \"{\" space (string \":\" space value (\",\" space string \":\" space value)* space)? \"}\"\n"
    "array ::= \"[\" space (value (\",\" space value)* space)? \"]\"\n"
    "string ::= \"\\\"\" ([^\"\\\\\\x00-\\x1F\\x7F] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" code))* \"\\\"\"\n"
    "code ::= [0-9a-cA-Ce-fE-F] hex{3} | [dD] [0-7] hex{2} | [dD] [89abAB] hex{2} \"\\\\u\" [dD] [c-fC-F] "
    "hex{2}\n"
    "hex ::= [0-9a-fA-F]\n"
    "number ::= integer (\".\" [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?\n"
    "integer ::= \"-\"? (\"0\" | [1-9] [0-9]{0,15})\n"
    "space ::= (\" \" | \"\\n\"{1,2} [ \\t]{0,20})?\n";

void nct_grammar_add_json_rules(nct_grammar *g, nct_json_rules *rules) {
    static const char *const names[] = {"value", "object", "array", "string", "number", "integer", "space"};
    enum { N = sizeof names / sizeof *names };
    uint32_t rule[N] = {0};
    nct_grammar_add_rules(g, text, sizeof text - 1, names, N, rule);
    *rules = (nct_json_rules){rule[0], rule[1], rule[2], rule[3], rule[4], rule[5], rule[6]};
}

uint32_t nct_grammar_add_json(nct_grammar *g) {
    nct_json_rules rules;
    nct_grammar_add_json_rules(g, &rules);
    return rules.object;
}
