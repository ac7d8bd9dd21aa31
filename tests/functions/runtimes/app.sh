# shellcheck shell=bash
# What a shell function sees of its runtime.
handler() {
    # shellcheck disable=SC2001
    printf '{"event": %s, "client": %s, "user": %s, "handler": "%s", "root": "%s"}\n' \
        "$1" "$(echo "$2" | sed 's/.*"custom": *\({[^}]*}\).*/\1/')" "$(id -u)" "$_HANDLER" "$LAMBDA_TASK_ROOT"
}

failing() {
    return 1
}
