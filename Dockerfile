# The service itself as an image: the static binary and nothing else. There is no shell in it and nothing to update.
#
# Build, from the repository (BINARY is a path inside the build context):
#   scripts/build-release.sh
#   install -D target/x86_64-unknown-linux-gnu/release/lambda-runtime-api-server .cache/service-image/lambda-runtime-api-server
#   docker build -f Dockerfile -t lambda-runtime-api-server .cache/service-image
#
# Run it on the host's network, where everything is as without a container:
#   docker run -d --name lambda-runtime-api --network host \
#     -v /var/run/docker.sock:/var/run/docker.sock \
#     -v /var/lib/lambda:/var/lib/lambda -v "$PWD/config.toml:/etc/lambda/config.toml:ro" \
#     lambda-runtime-api-server
#
# Whoever can use the Engine's socket is root on the host: the service is as trusted in a container as outside of it.
FROM scratch
ARG BINARY=lambda-runtime-api-server
COPY ${BINARY} /lambda-runtime-api-server
# The Engine sends SIGTERM; the service then finishes what runs, so `docker stop --time` must be above its grace.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/lambda-runtime-api-server"]
CMD ["--config", "/etc/lambda/config.toml"]
