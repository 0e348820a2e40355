"""The baseline of `yumen bench create`: a bare FastAPI endpoint that takes the same body.

It validates the body with pydantic as FastAPI apps do, and answers two fields. It signs nothing,
assesses nothing and stores nothing.
"""

import argparse

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class CreateBody(BaseModel):
    """The parameters of a create request, as an ordinary FastAPI app would declare them."""

    merchant_id: str
    out_trade_no: str
    total_amount: str
    currency: str = "CNY"
    subject: str
    body: str = ""
    pay_type: str
    notify_url: str
    return_url: str = ""
    risk_context: str = ""
    timestamp: int
    sign: str


app = FastAPI()


@app.post("/api/payment/create")
async def echo(body: CreateBody) -> dict[str, str]:
    """Answer with the order number."""
    return {"code": "SUCCESS", "out_trade_no": body.out_trade_no}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=parser.parse_args().port,
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )
