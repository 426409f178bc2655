// Express sessions in connect-redis 7 on ioredis 5, which speaks RESP2 and sends INFO first.
import { default as RedisStore } from "connect-redis-7";
import { Redis } from "ioredis";
import { serve } from "./routes.mjs";

const client = new Redis({ host: "127.0.0.1", port: Number(process.env.REDIS_PORT) });
client.on("error", (error) => console.error("store:", error.message));
serve(new RedisStore({ client }));
