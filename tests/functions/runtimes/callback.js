// The oldest form of a handler: the answer goes to a callback.
exports.handler = (event, context, callback) => callback(null, { called: event });
