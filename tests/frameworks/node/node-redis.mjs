// Express sessions in connect-redis 10 on node-redis 6, which opens with HELLO 3.
import { RedisStore } from "connect-redis";
import { createClient } from "redis";
import { serve } from "./routes.mjs";

const client = createClient({
  url: `redis://127.0.0.1:${process.env.REDIS_PORT}`,
  socket: { reconnectStrategy: 50 },
});
// Without a listener a dropped connection would end the process instead of being opened again.
client.on("error", (error) => console.error("store:", error.message));
await client.connect();
serve(new RedisStore({ client }));
