import { chromium, type Browser, type Page } from 'playwright-core';
import { commandPath } from '../../setup/shell.mjs';

/** Without a sandbox of its own, which root cannot have, and without what wants the network. */
const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Starts Debian's Chromium with a profile that is thrown away. */
export function startBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: commandPath('chromium'), args: ARGUMENTS });
}

/** A page of a file, with all that it complained about and all that it asked for. */
export interface OpenedPage {
  page: Page;
  /** Exceptions, and what the console got: a violation of the page's policy for instance. */
  complaints: string[];
  /** Addresses that it loaded besides itself. */
  requests: string[];
}

/** Opens a file, and waits until it shows something. */
export async function openFile(
  browser: Browser,
  path: string,
  fragment = '',
  scheme: 'light' | 'dark' = 'light',
): Promise<OpenedPage> {
  const page = await browser.newPage({ colorScheme: scheme });
  // Others may want the processor too.
  page.setDefaultTimeout(120_000);
  const complaints: string[] = [];
  const requests: string[] = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => complaints.push(message.text()));
  page.on('request', (request) => {
    if (!request.isNavigationRequest()) requests.push(request.url());
  });
  await page.goto(`file://${path}${fragment}`);
  await page.waitForSelector('main > *');
  return { page, complaints, requests };
}
