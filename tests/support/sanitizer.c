/* What sanitizers should do in test programs. Weak hooks that they look for; other builds have no use for them. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);

/* Tests ask for impossible sizes on purpose and want to see the refusal. */
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1:detect_stack_use_after_return=1";
}
const char *__tsan_default_options(void) { return "allocator_may_return_null=1:second_deadlock_stack=1"; }
