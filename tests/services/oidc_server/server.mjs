// An OpenID provider on loopback for the tests: panva's oidc-provider, with people, clients and keys of a settings file.
// Nobody types a password: whom `login_hint` names is signed in, `refuse` says no.
import { readFileSync } from 'node:fs'
import { Provider } from 'oidc-provider'

const given = JSON.parse(readFileSync(process.argv[2], 'utf8'))
const person = (id) => given.people[id]

const provider = new Provider(given.issuer, {
  jwks: { keys: given.keys },
  clients: given.clients,
  cookies: { keys: ['of-the-tests'] },
  scopes: ['openid', 'profile', 'offline_access'],
  claims: { openid: ['sub', 'roles'], profile: ['name'] },
  conformIdTokenClaims: false,
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256'], requestObjectSigningAlgValues: ['RS256'] },
  pkce: { required: () => true },
  ttl: { AccessToken: 600, ClientCredentials: 600, IdToken: 600, Session: 600, Grant: 600, Interaction: 600 },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => given.audience,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: 'archive',
        audience: given.audience,
        accessTokenFormat: 'jwt',
        accessTokenTTL: 600,
        jwt: { sign: { alg: given.algorithm } },
      }),
    },
  },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  async findAccount (ctx, id) {
    if (!person(id)) return undefined
    return { accountId: id, claims: () => ({ sub: id, name: id, roles: person(id).roles }) }
  },
  async extraTokenClaims (ctx, token) {
    const roles = token.accountId ? person(token.accountId)?.roles : given.roles_of_clients[token.clientId]
    return roles ? { roles } : {}
  },
  async loadExistingGrant (ctx) {
    const grant = new ctx.oidc.provider.Grant({
      clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId,
    })
    grant.addOIDCScope('openid profile offline_access')
    grant.addOIDCClaims(['sub', 'name', 'roles'])
    grant.addResourceScope(given.audience, 'archive')
    await grant.save()
    return grant
  },
})

provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith('/interaction/')) return next()
  const { params } = await provider.interactionDetails(ctx.req, ctx.res)
  const result = params.login_hint === 'refuse' || !person(params.login_hint ?? given.first)
    ? { error: 'access_denied', error_description: 'the person said no' }
    : { login: { accountId: params.login_hint ?? given.first } }
  await provider.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: false })
  ctx.respond = false
})

provider.on('server_error', (ctx, error) => console.error(error))
provider.listen(given.port, '127.0.0.1', () => console.log('listening'))
