/** As much of `ws` as the docs show; its own types come with those of all of Node. */
declare module "ws" {
  export class WebSocket {
    constructor(url: string, protocols?: string[]);
  }
}
