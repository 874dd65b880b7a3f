FROM python:3.11-slim
WORKDIR /app
COPY pyproject.toml README.md LICENSE cli.py ./
COPY ledger ledger
COPY consumers consumers
RUN pip install --no-cache-dir '.[kafka,postgres]' && useradd --create-home ledger
USER ledger
ENTRYPOINT ["points"]
